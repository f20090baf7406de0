"""TLS for the test servers: one self-signed, test-only key and certificate.

The certificate names localhost, 127.0.0.1 and ::1 and is valid 2020-2099. No system trusts it, so
it stands for the bad certificate; a test that wants it trusted hands `write_certificate`'s file to
the client (`SSL_CERT_FILE`). A handshake that never ends is `RawServer(Stall()).https_url`.
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


def self_signed() -> ssl.SSLContext:
    """A server context with the self-signed certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:  # ssl loads from files only
        path = Path(folder, "both.pem")
        path.touch(0o600)
        path.write_text(_KEY + _CERTIFICATE)
        context.load_cert_chain(path)
    return context


def write_certificate(path: Path) -> Path:
    """Write the certificate (PEM, no key) to `path` for a client that shall trust it."""
    path.write_text(_CERTIFICATE)
    return path
