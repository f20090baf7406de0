"""TLS for the test servers: one self-signed, test-only key and certificate.

The certificate names localhost, 127.0.0.1 and ::1 and is valid 2020-2099. No system trusts it, so
it stands for the bad certificate; `expired` has another of the same key, valid in 2020 alone. A
test that wants one trusted hands `write_certificate`'s file to the client (`SSL_CERT_FILE`). A
handshake that never ends is `RawServer(Stall()).https_url`.
"""

import ssl
import tempfile
from pathlib import Path

_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgfwTx25k5vwWwN/Ot
EgNINvewAFfTTr1J3Zs1zksbCsihRANCAAT+3fI5GpuQm/vbg1ItIuPcPvjl4YUa
UEJf9dVyF6OEkoO71FvnsFAAJr2mv0DOVoGGr9psVDVBKxqz1A+k6CSc
-----END PRIVATE KEY-----
"""

_CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBnTCCAUKgAwIBAgIUNAHufGcDP29MLhiWgRQwvNWAeoMwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTIwMDEwMTAwMDAwMFoYDzIwOTkxMjMx
MjM1OTU5WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAT+3fI5GpuQm/vbg1ItIuPcPvjl4YUaUEJf9dVyF6OEkoO71FvnsFAA
Jr2mv0DOVoGGr9psVDVBKxqz1A+k6CSco3AwbjAdBgNVHQ4EFgQUz8KI3FBXioRR
2r8Rbo+dZRzprfkwDwYDVR0TAQH/BAUwAwEB/zAsBgNVHREEJTAjgglsb2NhbGhv
c3SHBH8AAAGHEAAAAAAAAAAAAAAAAAAAAAEwDgYDVR0PAQH/BAQDAgKEMAoGCCqG
SM49BAMCA0kAMEYCIQCoe7mxDkDIhxvi9/qD/rVTceyQKMEkW0+tE8kg+2IUAAIh
APIrpoouv64gadeV78QYkhMuRRP+bmDIyBOOZGMXa2VS
-----END CERTIFICATE-----
"""

_EXPIRED = """\
-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwHhcNMjAwMTAxMDAwMDAwWhcNMjEwMTAxMDAwMDAwWjAUMRIwEAYDVQQDDAls
b2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAT+3fI5GpuQm/vbg1It
IuPcPvjl4YUaUEJf9dVyF6OEkoO71FvnsFAAJr2mv0DOVoGGr9psVDVBKxqz1A+k
6CSco2AwXjAsBgNVHREEJTAjgglsb2NhbGhvc3SHBH8AAAGHEAAAAAAAAAAAAAAA
AAAAAAEwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUz8KI3FBXioRR2r8Rbo+d
ZRzprfkwCgYIKoZIzj0EAwIDSAAwRQIgStfdDFvl2T43PKsZk40q01WM6CHWuCIc
yVspg0ELmBACIQChKhb1FhwwqX2dGqV7BecQjP3Cb2JO9Z1RVfWwoqgl/Q==
-----END CERTIFICATE-----
"""


def self_signed() -> ssl.SSLContext:
    """A server context with the self-signed certificate."""
    return _context(_CERTIFICATE)


def expired() -> ssl.SSLContext:
    """A server context with a certificate that expired."""
    return _context(_EXPIRED)


def _context(certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:  # ssl loads from files only
        path = Path(folder, "both.pem")
        path.touch(0o600)
        path.write_text(_KEY + certificate)
        context.load_cert_chain(path)
    return context


def write_certificate(path: Path, *, expired: bool = False) -> Path:
    """Write the certificate (PEM, no key) to `path` for a client that shall trust it."""
    path.write_text(_EXPIRED if expired else _CERTIFICATE)
    return path
