"""TLS for the test servers: one self-signed, test-only key and certificate.

The certificate names localhost, 127.0.0.1 and ::1 and is valid 2020-2099. No system trusts it, so
it stands for the bad certificate; `expired=True` is another of the same key, valid in 2020 alone. A
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

# The same key's, valid for 2020 alone.
_EXPIRED = """\
-----BEGIN CERTIFICATE-----
MIIBhDCCASqgAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwHhcNMjAwMTAxMDAwMDAwWhcNMjEwMTAxMDAwMDAwWjAUMRIwEAYDVQQDDAls
b2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAT+3fI5GpuQm/vbg1It
IuPcPvjl4YUaUEJf9dVyF6OEkoO71FvnsFAAJr2mv0DOVoGGr9psVDVBKxqz1A+k
6CSco20wazAPBgNVHRMBAf8EBTADAQH/MB0GA1UdDgQWBBTPwojcUFeKhFHavxFu
j51lHOmt+TAsBgNVHREEJTAjgglsb2NhbGhvc3SHBH8AAAGHEAAAAAAAAAAAAAAA
AAAAAAEwCwYDVR0PBAQDAgKEMAoGCCqGSM49BAMCA0gAMEUCIEg0ixWQBZUDmSX+
g8lsqq1IoFvjoZ3SmbYeSkNjZt1kAiEA1Rz4eQHw6ygx2/9VReNo6Zj9Lr+92DfR
lVySLePs2mk=
-----END CERTIFICATE-----
"""

# The same key behind the password "x", and another key.
_ENCRYPTED_KEY = """\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAi1d+b+ddt4XQICA+gw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEAQIEEPUZH8IG7QnVTrJEF5AKm9AEgZAa
DbtSQpeIE5nGQOzElCzHHO/BCtoqZEKRVEVpfQAQ9dQgmCuHt+VIQDQoBjRrf265
5NyXwW0ReP2DJcGGuS/Tzkq4w035+MSfOWAutwtfJCrpfkZGGJQ1xKk5Nn65ElIF
ZdpuKc3SREFCBkAPtZCZYJLyx88QApo3CSmxx3nYKKpj/ol0iWsv9O4dykPfN4M=
-----END ENCRYPTED PRIVATE KEY-----
"""

_OTHER_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgHIlDOVHUQgRapNix
NDpX0EYeieFjjBc0xH2frg6StZChRANCAAQZyJJeh6sH0q/aqbP4naUKWbOCKXoP
lGH7BxcFaMcLXXayyfMFOy6SxGSw3Ien5LEzexkVEAWMgeznV5pSGBsW
-----END PRIVATE KEY-----
"""


def self_signed(*, asks: bool = False, expired: bool = False) -> ssl.SSLContext:
    """A server context with the self-signed certificate, or an expired one. `asks`: it takes no
    client but one that shows that certificate too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:  # ssl loads from files only
        path = Path(folder, "both.pem")
        path.touch(0o600)
        path.write_text(_KEY + (_EXPIRED if expired else _CERTIFICATE))
        context.load_cert_chain(path)
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=_CERTIFICATE)
    return context


def write_certificate(path: Path, *, expired: bool = False) -> Path:
    """Write the certificate (PEM, no key) to `path` for a client that shall trust or show it."""
    path.write_text(_EXPIRED if expired else _CERTIFICATE)
    return path


def write_key(path: Path, kind: str = "") -> Path:
    """Write the certificate's key to `path`; `kind`: `encrypted`, or `other`, which is another."""
    path.touch(0o600)
    path.write_text({"": _KEY, "encrypted": _ENCRYPTED_KEY, "other": _OTHER_KEY}[kind])
    return path
