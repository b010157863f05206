"""One URL -> its bytes: at most so many of them, within so much time, over so many redirects.

Plain `http.client` over a socket that was connected to a checked address. No proxy, no cookie, no
credentials, no compression: nothing that a URL could ask this server to give away or to unpack.
"""

import functools
import http.client
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from serve.refusal import PayloadError, TooLargeError
from serve.urls import lookup
from serve.urls.address import Rule

MAX_URL_CHARACTERS = 4096
"""Signed URLs of S3 have some 1,500."""

CONNECT_SECONDS = 3.0
"""For one address; the next one is tried then."""

CHUNK_BYTES = 1 << 16
REDIRECTS = (301, 302, 303, 307, 308)
HEADERS = {
    "Accept": "image/*, */*;q=0.1",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "image-classification",
}


@dataclass(frozen=True)
class Limits:
    max_bytes: int
    seconds: float
    """From the first look at the name to the last byte, redirects included."""
    redirects: int = 3


def fetch(url: str, rule: Rule, limits: Limits) -> bytes:
    """Raises PayloadError, with a message that shows nothing of what was answered."""
    deadline = time.monotonic() + limits.seconds
    for _ in range(limits.redirects + 1):
        parts = parse(url)
        try:
            connection = _connect(parts, rule, deadline)
        except TimeoutError:
            raise _slow(limits) from None
        try:
            connection.request("GET", _target(parts), headers=HEADERS)
            response = connection.getresponse()
            if response.status not in REDIRECTS:
                return _read(response, limits, deadline)
            url = urljoin(url, response.headers.get("Location", ""))
        except TimeoutError:
            raise _slow(limits) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise PayloadError(f"url: no whole answer ({type(error).__name__})") from None
        finally:
            connection.close()
    raise PayloadError(f"url: more than {limits.redirects} redirects")


def parse(url: str) -> SplitResult:
    """Raises PayloadError for all that is no plain http(s) URL of a host."""
    if len(url) > MAX_URL_CHARACTERS:
        raise PayloadError(f"url: {len(url)} characters; the limit is {MAX_URL_CHARACTERS}")
    # two programs may read such characters differently, and mean two hosts
    if not all("!" <= character <= "~" and character != "\\" for character in url):
        raise PayloadError("url: a character that must be percent-encoded, or the name in punycode")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise PayloadError("url: host or port cannot be read") from None
    if parts.scheme not in ("http", "https"):
        raise PayloadError(f"url: {parts.scheme[:20]!r} is neither http nor https")
    if "@" in parts.netloc:
        raise PayloadError("url: no user and no password is sent; sign the URL instead")
    if not host or "%" in host or port == 0:
        raise PayloadError("url: it names no host that can be asked")
    return parts


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _slow(limits: Limits) -> PayloadError:
    return PayloadError(f"url: the photo did not arrive within {limits.seconds:g} s")


def _connect(parts: SplitResult, rule: Rule, deadline: float) -> http.client.HTTPConnection:
    """A connection to a checked address that says the URL's own name. Raises PayloadError, and
    TimeoutError where no time is left to connect."""
    host, tls = str(parts.hostname), parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    addresses = lookup.in_time(functools.partial(rule.addresses, host, port), deadline)
    for address in addresses:
        _left(deadline)
        try:
            sock = _open(address, port, host if tls else None, deadline)
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or "no TLS"
            raise PayloadError(f"url: {host[:100]!r} is not to be trusted: {reason}") from None
        except OSError:
            _left(deadline)
            continue  # the next address may answer
        connection = http.client.HTTPConnection(host, port)
        connection.default_port = 443 if tls else 80  # for the Host header
        connection.sock = sock
        return connection
    raise PayloadError(f"url: {host[:100]!r} does not answer at port {port}")


class _Timed:
    """A socket of which every read ends by `deadline`: a timeout alone starts again with each byte,
    and so a server that sends one a second would never be late."""

    deadline: float
    settimeout: Callable[[float], None]

    def recv_into(self, *arguments: Any, **named: Any) -> int:
        self.settimeout(_left(self.deadline))
        count: int = super().recv_into(*arguments, **named)  # type: ignore[misc]
        return count


class _Plain(_Timed, socket.socket):  # type: ignore[misc]
    pass


class _Encrypted(_Timed, ssl.SSLSocket):  # type: ignore[misc]
    pass


@functools.cache
def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.sslsocket_class = _Encrypted
    return context


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _open(address: str, port: int, tls_name: str | None, deadline: float) -> socket.socket:
    """Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock: Any = _Plain(family, socket.SOCK_STREAM)
    try:
        sock.deadline = deadline
        sock.settimeout(min(CONNECT_SECONDS, _left(deadline)))
        sock.connect((address, port))
        sock.settimeout(_left(deadline))
        if tls_name is not None:
            sock = _context().wrap_socket(sock, server_hostname=tls_name)
            sock.deadline = deadline
    except BaseException:
        sock.close()
        raise
    opened: socket.socket = sock
    return opened


def _read(response: http.client.HTTPResponse, limits: Limits, deadline: float) -> bytes:
    if response.status != 200:
        raise PayloadError(f"url: the answer is {response.status}, not a photo")
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise PayloadError("url: the answer is compressed, which was not asked for")
    expected = response.length
    if (expected or 0) > limits.max_bytes:
        raise _too_large(limits, expected)
    data = bytearray()
    while expected is None or len(data) < expected:
        # one read of the socket each, so that the deadline is looked at
        chunk = response.read1(CHUNK_BYTES if expected is None else expected - len(data))
        if not chunk:
            break
        data += chunk
        if len(data) > limits.max_bytes:
            raise _too_large(limits, None)
    if len(data) < (expected or 0):
        raise PayloadError(f"url: {len(data):,} of {expected:,} bytes came")
    return bytes(data)


def _too_large(limits: Limits, received: int | None) -> TooLargeError:
    return TooLargeError(
        f"url: the photo has more than {limits.max_bytes:,} bytes",
        limit=limits.max_bytes,
        received=received,
    )
