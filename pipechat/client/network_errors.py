"""What a failed connection means, told by its innermost cause.

The SDK says "Connection error." for all of them (FAULTS §1); the cause is in the chain.
"""

import errno
import socket
from collections.abc import Iterator

from pipechat.errors import NetworkError, PipechatError, SetupError
from pipechat.settings.proxy import Proxy

# What OpenSSL says of an answer that is no TLS.
_NO_TLS = ("wrong version number", "record layer failure")


def network_error(error: BaseException, *, host: str, proxy: Proxy | None = None) -> PipechatError:
    """The error for what the transport raised, with the cause and what to try.

    Args:
        proxy: who stands on the way; what fails before the server was reached is its own.
    """
    chain = list(_chain(error))
    names = {kind.__name__ for cause in chain for kind in type(cause).__mro__}
    text = next((str(cause) for cause in reversed(chain) if str(cause)), "")
    if proxy is not None and "CERTIFICATE_VERIFY_FAILED" not in text:
        if "ProxyError" in names and text.startswith("407"):
            return proxy_refused(proxy)
        if names & {"ProxyError", "ConnectError"} or any(_is_from(c, "socksio") for c in chain):
            return _proxy_failed(proxy, chain, text)
    if "SSLCertVerificationError" in names or "CERTIFICATE_VERIFY_FAILED" in text:
        message = f"the certificate of {host} is not trusted: {text}"
        hint = "Check the base URL; SSL_CERT_FILE names your own authority."
        return NetworkError("bad_certificate", message, hint, again=False)
    if "ProxyError" in names or any(_is_from(cause, "socksio") for cause in chain):
        return NetworkError("proxy_failed", f"the proxy failed: {text}", "Check --proxy.")
    found = _unsendable(names, text) or _unreached(chain, text, host)
    if found is not None:
        return found
    if "ConnectTimeout" in names or "TimeoutException" in names or "TimeoutError" in names:
        return NetworkError("timeout", f"{host} did not answer in time", "Raise --timeout.")
    if any(word in text for word in _NO_TLS):
        hint = "Is it http:// instead of https://?"
        return NetworkError("connection_failed", f"{host} speaks no TLS", hint, again=False)
    if "ConnectError" in names or "SSLError" in names:
        message = f"no connection to {host}: {text}" if text else f"no connection to {host}"
        return NetworkError("connection_failed", message, "Check --base-url and the network.")
    message = f"the connection to {host} was lost: {text}" if text else f"{host} hung up"
    return NetworkError("connection_lost", message, "Ask again.")


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


def proxy_refused(proxy: Proxy) -> SetupError:
    """The proxy wants to know who asks (407)."""
    message = f"the proxy {proxy.shown} ({proxy.named_by}) asks for a user and a password"
    return SetupError("proxy_refused", message, "Give them in the URL of HTTPS_PROXY or ALL_PROXY.")


def _proxy_failed(proxy: Proxy, chain: list[BaseException], text: str) -> NetworkError:
    if any(isinstance(cause, ConnectionRefusedError) for cause in chain):
        text = "it refused the connection"
    elif any(isinstance(cause, socket.gaierror) for cause in chain):
        text = "its name does not resolve"
    message = f"the proxy {proxy.shown} ({proxy.named_by}) failed: {text}"
    return NetworkError("proxy_failed", message, f"Check {proxy.named_by}.")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _is_from(cause: BaseException, package: str) -> bool:
    return type(cause).__module__.split(".")[0] == package


def _is_unreachable(cause: BaseException) -> bool:
    codes = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL)
    return isinstance(cause, OSError) and cause.errno in codes
