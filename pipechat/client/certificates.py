"""Whose certificates are trusted, and which one is shown: of the options, or the environment."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from pipechat.errors import SetupError
from pipechat.settings.resolve import Settings

if TYPE_CHECKING:
    import ssl

# In the order in which they count; the last two are those of requests and curl.
_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_OF_CERT = "--cert takes your certificate and --key its private key, both as PEM."
_MOST_BYTES = 1 << 20


def check_tls_files(environ: Mapping[str, str]) -> None:
    """Whether what OpenSSL opens by itself, as soon as an HTTP library is imported, is there to
    be opened: it waits for a FIFO without an end, and names no file that it fails on.

    Raises:
        SetupError: `bad_certificates`: SSL_CERT_FILE is no plain file; `bad_key_log`:
            SSLKEYLOGFILE cannot be written.
    """
    file, log = environ.get("SSL_CERT_FILE"), environ.get("SSLKEYLOGFILE")
    if file and os.path.exists(file) and not os.path.isdir(file) and not os.path.isfile(file):
        raise _wrong("SSL_CERT_FILE", file, "it is not a regular file")
    if not log:
        return
    try:
        fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o600)
        is_plain = stat.S_ISREG(os.fstat(fd).st_mode)
        os.close(fd)
        if not is_plain:
            raise OSError(0, "it is not a regular file")
    except OSError as error:
        message = f"SSLKEYLOGFILE: {log}: {error.strerror}"
        raise SetupError("bad_key_log", message, "Correct it, or unset it.") from error


def tls_context(settings: Settings, environ: Mapping[str, str]) -> ssl.SSLContext | None:
    """A context that trusts whom the user names, and shows the certificate of --cert; None where
    neither is said.

    Raises:
        SetupError: `bad_certificates`: what is named holds no certificates; `bad_client_cert`:
            nor is it a certificate with the key to it.
    """
    named = _authorities(settings, environ)
    if named is None and settings.client_cert is None:
        return None
    if named is not None:
        context = _trusting(*named)
    else:
        import httpx2

        context = httpx2.create_ssl_context(trust_env=False)
    if settings.client_cert is not None:
        _show(context, settings)
    return context


def authorities_named(settings: Settings, environ: Mapping[str, str]) -> str:
    """Whom the user says to trust, for messages: `SSL_CERT_FILE: PATH`, or "" for the usual."""
    named = _authorities(settings, environ)
    return ": ".join(named) if named else ""


def _authorities(settings: Settings, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Who names a file or a folder of authorities, and which."""
    if settings.cacert is not None:
        return settings.origins["cacert"], settings.cacert
    return next(((name, path) for name in _AUTHORITIES if (path := environ.get(name))), None)


def _trusting(named_by: str, path: str) -> ssl.SSLContext:
    import ssl

    try:
        is_folder = _is_folder(path)
        if named_by == "SSL_CERT_DIR" and not is_folder:
            raise _wrong(named_by, path, "it is no folder")
        if is_folder and named_by not in ("SSL_CERT_FILE", "CURL_CA_BUNDLE"):
            _check_searchable(path)
            return ssl.create_default_context(capath=path)
        _check_readable(path)
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError as error:
        raise _wrong(named_by, path, "it holds no certificates (PEM)") from error
    except OSError as error:
        raise _wrong(named_by, path, error.strerror or str(error)) from error


def _is_folder(path: str) -> bool:
    """Raises OSError where nobody may look; what is not there is none."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _check_searchable(folder: str) -> None:
    """Raises OSError: OpenSSL looks an authority up by its name, and takes what it may not look
    for as missing. So it may be a folder that cannot be listed."""
    os.stat(os.path.join(folder, os.curdir))


def _check_readable(path: str) -> None:
    """Raises OSError: what is missing has better words here than in OpenSSL, which waits for a
    FIFO."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is not a regular file")


def _show(context: ssl.SSLContext, settings: Settings) -> None:
    """Let `context` show the certificate of --cert. Raises SetupError."""
    cert, key = settings.client_cert, settings.client_key
    assert cert is not None
    named = f"{settings.origins['client_cert']}: {cert}"
    for name, path in (("client_cert", cert), ("client_key", key)):
        try:
            if path is not None:
                _check_readable(path)
        except OSError as error:
            shown = _without_a_key(path or "")
            what = f"{settings.origins[name]}: {shown}: {error.strerror or error}"
            raise SetupError("bad_client_cert", what, _OF_CERT) from error
    try:
        context.load_cert_chain(cert, key, password=_refuse_password)
    except _EncryptedError as error:
        which = f"{settings.origins['client_key']}: {key}" if key else named
        hint = "Decrypt it: openssl pkey -in KEY -out PLAIN, which only you may read."
        raise SetupError("bad_client_cert", f"{which}: the key is encrypted", hint) from error
    except OSError as error:  # ssl.SSLError is one
        raise SetupError("bad_client_cert", _what_is_wrong(error, settings), _OF_CERT) from error


def _what_is_wrong(error: OSError, settings: Settings) -> str:
    origins, cert, key = settings.origins, settings.client_cert, settings.client_key
    named = f"{origins['client_cert']}: {cert}"
    if "MISMATCH" in str(error).upper():
        other = f"the key in {key} ({origins['client_key']})" if key else "the key in it"
        return f"{named}: {other} is not that of the certificate"
    if not _holds_pem(cert or "", b"CERTIFICATE-----"):
        return f"{named}: it holds no certificate (PEM)"
    if not _holds_pem(key or cert or "", b"PRIVATE KEY-----"):
        where = f"{origins['client_key']}: {key}" if key else named
        return f"{where}: it holds no private key (PEM)"
    return f"{named}: it cannot be used: {error.strerror or error}"


def _holds_pem(path: str, kind: bytes) -> bool:
    with open(path, "rb") as file:
        return kind in file.read(_MOST_BYTES)


def _without_a_key(path: str) -> str:
    """A file's name, but not a key of the API, for which --key may be taken."""
    return "[key]" if path.startswith("sk-") else path


class _EncryptedError(Exception):
    pass


def _refuse_password() -> NoReturn:
    # OpenSSL would ask at the terminal.
    raise _EncryptedError


def _wrong(named_by: str, value: str, what: str) -> SetupError:
    hint = "Correct it, or unset it to use the system's authorities."
    return SetupError("bad_certificates", f"{named_by}: {value}: {what}", hint)
