"""What a failed connection means, told by its innermost cause.

The SDK says "Connection error." for all of them (FAULTS §1); the cause is in the chain.
"""

import errno
import socket
from collections.abc import Iterator

from pipechat.errors import BugError, NetworkError, PipechatError, SetupError, as_ours
from pipechat.settings.proxy import Proxy

# What OpenSSL says of an answer that is no TLS.
_NO_TLS = ("wrong version number", "record layer failure")
# How OpenSSL names the alerts of a server that wants a certificate of ours, or another one.
_ASKED_FOR = (
    "ALERT_CERTIFICATE_REQUIRED", "ALERT_UNKNOWN_CA", "ALERT_BAD_CERTIFICATE",
    "ALERT_CERTIFICATE_EXPIRED", "ALERT_CERTIFICATE_UNKNOWN", "alert certificate required",
    "alert unknown ca", "alert bad certificate", "alert certificate expired",
    "alert certificate unknown",
)  # fmt: skip
# What the transport says where a SOCKS proxy wants another user, or one at all.
_NO_LOGIN = ("Invalid username/password", "from proxy server, but got")


def network_error(
    error: BaseException,
    *,
    host: str,
    proxy: Proxy | None = None,
    reached: bool = True,
    authorities: str = "",
) -> PipechatError:
    """The error for what the transport raised, with the cause and what to try.

    Args:
        proxy: who stands on the way.
        reached: whether the way to the server was open; what fails before is the proxy's own.
        authorities: who names the certificate authorities that are trusted, and where they are.
    """
    chain = list(chain_of(error))
    for ours in (as_ours(cause) for cause in chain if isinstance(cause, OSError)):
        if not isinstance(ours, BugError):  # what this machine has too little of
            return ours
    names = {kind.__name__ for cause in chain for kind in type(cause).__mro__}
    text = next((str(cause) for cause in reversed(chain) if str(cause)), "")
    if proxy is not None and (
        not reached or "ProxyError" in names or any(map(is_from_socks, chain))
    ):
        return _proxy_failed(proxy, chain, names, text, host, authorities)
    if _is_distrusted(names, text):
        return _distrusted(host, text, "Check the base URL", authorities)
    if wants_certificate(error):
        return _not_known(host, text)
    if "ProxyError" in names or any(map(is_from_socks, chain)):
        return NetworkError("proxy_failed", f"the proxy failed: {text}", "Check --proxy.")
    way = f" by way of {proxy.told}" if proxy is not None else ""
    refused = _unsendable(names, text) or _unreached(chain, text, host)
    return refused or _broken(names, text, host, way)


def _is_distrusted(names: set[str], text: str) -> bool:
    return "SSLCertVerificationError" in names or "CERTIFICATE_VERIFY_FAILED" in text


def _distrusted(whose: str, text: str, hint: str, authorities: str) -> NetworkError:
    message = f"the certificate of {whose} is not trusted: {text}"
    if authorities:
        hint = f"{hint}, or name its authority by --cacert; only those in {authorities} count."
    else:
        hint = f"{hint}; --cacert or SSL_CERT_FILE names your own authority."
    return NetworkError("bad_certificate", message, hint, again=False)


def wants_certificate(error: BaseException) -> bool:
    """Whether the server said that it wants to see a certificate, or another one."""
    return any(word in said for said in map(str, chain_of(error)) for word in _ASKED_FOR)


def _not_known(host: str, text: str) -> SetupError:
    """The server wants to see a certificate, or another one."""
    message = f"{host} does not take the certificate that it was shown, or was shown none: {text}"
    return SetupError("client_cert_refused", message, "Give --cert and --key.")


def _unsendable(names: set[str], text: str) -> PipechatError | None:
    """A request that the transport refused to make."""
    if "LocalProtocolError" in names or "InvalidURL" in names:
        hint = "Check the key and the base URL for characters that do not belong there."
        return SetupError("bad_request_parts", f"the request cannot be sent: {text}", hint)
    if "UnsupportedProtocol" in names:
        return SetupError("bad_base_url", text, "Check --base-url and --proxy.")
    return None


def _unreached(chain: list[BaseException], text: str, host: str) -> PipechatError | None:
    """A server that could not be reached, by what the socket said."""
    for cause in chain:
        if isinstance(cause, socket.gaierror):
            hint = "Check the base URL and the network."
            return NetworkError("unknown_host", f"the name {host} does not resolve", hint)
    if any(isinstance(cause, ConnectionRefusedError) for cause in chain):
        hint = "Is the server running? Check --base-url."
        return NetworkError("connection_refused", f"{host} refused the connection", hint)
    if any(_is_unreachable(cause) for cause in chain):
        message = f"{host} cannot be reached: {text}"
        return NetworkError("unreachable", message, "Check the network.")
    return None


def _broken(names: set[str], text: str, host: str, way: str) -> NetworkError:
    """A connection that was not made in time, failed, or was lost."""
    if "ConnectTimeout" in names or "TimeoutException" in names or "TimeoutError" in names:
        return NetworkError("timeout", f"{host}{way} did not answer in time", "Raise --timeout.")
    if any(word in text for word in _NO_TLS):
        hint = "Is it http:// instead of https://?"
        return NetworkError("connection_failed", f"{host} speaks no TLS", hint, again=False)
    if "ConnectError" in names or "SSLError" in names:
        message = f"no connection to {host}{way}: {text}" if text else f"no connection to {host}"
        return NetworkError("connection_failed", message, "Check --base-url and the network.")
    lost = f"the connection to {host}{way} was lost"
    message = f"{lost}: {text}" if text else f"{host}{way} hung up"
    return NetworkError("connection_lost", message, "Ask again.")


def login_refused(proxy: Proxy) -> SetupError:
    """The proxy wants to know who asks (407), or does not take who was named."""
    if proxy.has_login:
        message = f"{proxy.told} did not take the user and the password that it was given"
        return SetupError("proxy_refused", message, f"Check {proxy.named_by}.")
    message = f"{proxy.told} asks for a user and a password"
    return SetupError("proxy_refused", message, "Give them in the URL of HTTPS_PROXY or ALL_PROXY.")


def _proxy_failed(
    proxy: Proxy,
    chain: list[BaseException],
    names: set[str],
    text: str,
    host: str,
    authorities: str,
) -> PipechatError:
    hint = f"Check {proxy.named_by}."
    if _is_distrusted(names, text):
        return _distrusted(proxy.told, text, f"Check {proxy.named_by}", authorities)
    if "ProxyError" in names:
        if text.startswith("407") or any(words in text for words in _NO_LOGIN):
            return login_refused(proxy)
        if text.startswith(("401", "403")):
            message = f"{proxy.told} refuses the way to {host}: {text}"
            return SetupError("proxy_refused", message, hint)
    if any(isinstance(cause, ConnectionRefusedError) for cause in chain):
        text = "it refused the connection"
    elif any(isinstance(cause, socket.gaierror) for cause in chain):
        text = "its name does not resolve"
    elif any(map(is_from_socks, chain)):
        text = "it did not answer as SOCKS5 has it"
    elif any(word in text for word in _NO_TLS):
        text = "it speaks no TLS"
    elif "ProxyError" not in names and names & {"RemoteProtocolError", "ReadError", "WriteError"}:
        text = f"it did not open the way to {host}{f' ({text})' if text else ''}"
    return NetworkError("proxy_failed", f"{proxy.told} failed: {text or 'it hung up'}", hint)


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it came of."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def is_from_socks(cause: BaseException) -> bool:
    """Whether the SOCKS library raised it, which the transport does not translate."""
    return type(cause).__module__.split(".")[0] == "socksio"


def _is_unreachable(cause: BaseException) -> bool:
    codes = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL)
    return isinstance(cause, OSError) and cause.errno in codes
