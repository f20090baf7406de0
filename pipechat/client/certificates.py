"""Whose certificates are trusted, where the environment says so."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipechat.errors import SetupError

if TYPE_CHECKING:
    import ssl


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


def own_authorities(environ: Mapping[str, str]) -> ssl.SSLContext | None:
    """A context that trusts what SSL_CERT_FILE, else SSL_CERT_DIR, names; None without them.

    Raises:
        SetupError: `bad_certificates`: the variable names nothing that holds certificates.
    """
    file, folder = environ.get("SSL_CERT_FILE"), environ.get("SSL_CERT_DIR")
    if file:
        return _context("SSL_CERT_FILE", file, cafile=file)
    if folder:
        if not os.path.isdir(folder):
            raise _wrong("SSL_CERT_DIR", folder, "it is no folder")
        return _context("SSL_CERT_DIR", folder, capath=folder)
    return None


def _context(variable: str, value: str, **where: str) -> ssl.SSLContext:
    import ssl

    try:
        if "cafile" in where:
            with open(value, "rb"):  # what is missing has better words here than in OpenSSL
                pass
        return ssl.create_default_context(**where)  # type: ignore[arg-type]  # because of **
    except ssl.SSLError as error:
        raise _wrong(variable, value, "it holds no certificates (PEM)") from error
    except OSError as error:
        raise _wrong(variable, value, error.strerror or str(error)) from error


def _wrong(variable: str, value: str, what: str) -> SetupError:
    hint = "Correct it, or unset it to use the system's authorities."
    return SetupError("bad_certificates", f"{variable}: {value}: {what}", hint)
