"""What it means that was seen on the way to an endpoint, and at it. Pure: knows no clock."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from pipechat.doctor.finding import Finding, Verdict, failed
from pipechat.errors import PipechatError
from pipechat.text import counted, did_you_mean

_DAY_S = 86_400
_SOON_DAYS = 14
_CLOCK_WARN_S = 60
_CLOCK_FAIL_S = 900
# X509_V_ERR_* of OpenSSL.
_NOT_YET, _EXPIRED = 9, 10
_UNKNOWN_ISSUER = (2, 18, 19, 20, 21)
_OTHER_NAME = (62, 64)
_CHECK_URL = "Check the base URL and the network."


def name(told: str, hostname: str, addresses: Sequence[str], error: Exception | None) -> Finding:
    """Whether a name resolves."""
    if error is None:
        if list(addresses) == [hostname]:
            return Finding("dns", "ok", f"{hostname} is an address")
        others = f" and {len(addresses) - 1} more" if len(addresses) > 1 else ""
        return Finding("dns", "ok", f"{hostname} is {addresses[0]}{others}")
    if isinstance(error, TimeoutError):
        message = f"the name of {told} was not looked up in time"
        return Finding("dns", "fail", message, "Check the network and the name server.")
    message = f"the name of {told} does not resolve"
    return Finding("dns", "fail", message, _CHECK_URL)


def connection(told: str, error: OSError | None) -> Finding:
    """Whether somebody takes a connection."""
    if error is None:
        return Finding("tcp", "ok", f"{told} takes connections")
    if isinstance(error, ConnectionRefusedError):
        hint = "Is it running? Check the address and the port."
        return Finding("tcp", "fail", f"{told} refused the connection", hint)
    if isinstance(error, TimeoutError):
        message = f"{told} did not take a connection in time"
        return Finding("tcp", "fail", message, "Is a firewall or a VPN in the way?")
    if isinstance(error, socket.gaierror):
        return Finding("tcp", "fail", f"the name of {told} does not resolve", _CHECK_URL)
    what = error.strerror or str(error)
    return Finding("tcp", "fail", f"no connection to {told}: {what}", "Check the network.")


def certificate(told: str, shown: Mapping[str, Any], now: float) -> Finding:
    """What a certificate that is trusted says of itself."""
    fields = {key: value for part in shown.get("issuer", ()) for key, value in part}
    issuer = fields.get("organizationName") or fields.get("commonName") or "an unnamed authority"
    ends = shown.get("notAfter")
    if not isinstance(ends, str):
        return Finding("tls", "ok", f"{told} has a certificate of {issuer}")
    days = int((ssl.cert_time_to_seconds(ends) - now) // _DAY_S)
    message = f"{told} has a certificate of {issuer}, good for {counted(days, 'day')}"
    if days >= _SOON_DAYS:
        return Finding("tls", "ok", message)
    return Finding("tls", "warn", message, "Tell whoever runs the server.")


def distrusted(told: str, code: int, reason: str) -> Finding:
    """Why a certificate is not trusted; `code` is OpenSSL's."""
    hint = "Check the base URL."
    what = f"is not trusted: {reason}"
    if code == _EXPIRED:
        what, hint = "has expired", "Is the clock right? Else whoever runs the server renews it."
    elif code == _NOT_YET:
        what, hint = "is not valid yet", "Is the clock right?"
    elif code in _UNKNOWN_ISSUER:
        what = f"is signed by an authority that is not trusted ({reason})"
        hint = "--cacert or SSL_CERT_FILE names an authority of your own."
    elif code in _OTHER_NAME:
        what, hint = "is for another name", "Check the base URL; is something in between?"
    return Finding("tls", "fail", f"bad_certificate: the certificate of {told} {what}", hint)


def no_tls(told: str, error: OSError) -> Finding:
    """Why there is no TLS."""
    if isinstance(error, TimeoutError):
        message = f"{told} did not answer the TLS handshake in time"
        return Finding("tls", "fail", message, "Is something in between that swallows it?")
    hint = "Is it http:// instead of https://? Or is something in between?"
    return Finding("tls", "fail", f"{told} speaks no TLS: {error.strerror or error}", hint)


def listing(
    host: str, models: Sequence[str] | None, error: PipechatError | None, *, answered: bool | None
) -> Finding:
    """How the endpoint took the key, and whether it lists its models. `answered`: whether it
    answers a question all the same; None: it was not asked."""
    if error is None:
        return Finding("http", "ok", f"{host} lists {counted(len(models or ()), 'model')}")
    if answered:
        return failed("http", error, "warn")
    if error.code == "timeout":
        message = f"timeout: {host} did not answer in time"
        return Finding("http", "fail", message, "Is it busy, or is something in between silent?")
    finding = failed("http", error)
    if error.code != "not_found" or answered is not None:
        return finding
    return finding._replace(hint=f"{error.hint} `--ask` tells whether it answers all the same.")


def model(wanted: str, origin: str, models: Sequence[str], *, answered: bool | None) -> Finding:
    """Whether the model that would be asked is among those listed. `origin`: who named it;
    `answered`: as in `listing`."""
    named = f"{wanted} ({origin})" if origin else wanted
    if wanted in models:
        return Finding("model", "ok", f"{named} is served")
    message = f"{named} is not among the models that are listed"
    if answered:
        return Finding("model", "warn", f"{message}, and answers all the same")
    hint = did_you_mean(wanted, models) or "`pipechat models` lists them."
    if answered is None:
        hint += " `--ask` tells whether it answers."
    return Finding("model", "fail", message, hint)


def clock(date: str | None, now: float) -> Finding:
    """This machine's clock (`now`, seconds since 1970) against the server's `Date`."""
    try:
        told = parsedate_to_datetime(date or "")
        # A date without a zone is in GMT (RFC 9110 §5.6.7), not in the zone of this machine.
        said = told.replace(tzinfo=told.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError, TypeError):
        return Finding("clock", "ok", "the server tells no time to compare with")
    off = round(now - said)
    size = abs(off)
    if size <= _CLOCK_WARN_S:
        return Finding("clock", "ok", "as the server's, to a minute")
    length = f"{size} s" if size < 3600 else f"{size / 3600:.1f} h"
    message = f"this clock is {length} {'ahead of' if off > 0 else 'behind'} the server's"
    verdict: Verdict = "fail" if size > _CLOCK_FAIL_S else "warn"
    return Finding("clock", verdict, message, "Set the clock (NTP).")
