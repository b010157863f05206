"""A whole request -> the bytes of its answer, from the application or of our own making."""

import http
import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from gunicorn.http import wsgi

from serve import reply
from serve.echo import echoed
from serve.front.received import KEY, Received
from serve.refusal import Refusal
from serve.reply import Reply

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Direct = dict[tuple[str, str], Callable[[Received], Reply]]
"""Method and path -> what answers there, without an application."""

PHRASES = {status.value: status.phrase for status in http.HTTPStatus}


class Collected:
    """Stands where gunicorn's response writes to a socket."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.parts.append(data)


def call(app: App, received: Received, config: Any, close: bool) -> tuple[bytes, bool]:
    """The answer, and whether the connection ends with it; `close` makes it end."""
    collected = Collected()
    response, environ = wsgi.create(
        received.request, collected, received.peer, received.local, config
    )
    environ["wsgi.input"] = received.body
    environ["wsgi.multithread"] = True
    environ["CONTENT_LENGTH"] = str(received.bytes)
    environ[KEY] = received
    if close:
        response.force_close()
    items = app(environ, response.start_response)
    try:
        for item in items:
            response.write(item)
        response.close()
    finally:
        getattr(items, "close", lambda: None)()
    return b"".join(collected.parts), response.should_close()


def refuse(refusal: Refusal, request: Any, close: bool) -> bytes:
    """The answer to what never reaches the application; `request` is None without a whole head."""
    headers = dict(getattr(request, "headers", []))
    given = reply.of(refusal)
    given.headers.update(echoed(lambda name: headers.get(name.upper(), "")))
    return written(given, close, getattr(request, "method", "") == "HEAD")


def fail(error: BaseException) -> bytes:
    """The answer where the application broke."""
    return written(reply.of(error), close=True)


def written(given: Reply, close: bool, no_body: bool = False) -> bytes:
    lines = [
        f"HTTP/1.1 {given.status} {PHRASES.get(given.status, 'Unknown')}",
        f"Server: {wsgi.SERVER}",
        f"Date: {_date(int(time.time()))}",
        f"Connection: {'close' if close else 'keep-alive'}",
        f"Content-Type: {given.content_type}",
        f"Content-Length: {len(given.body)}",
        *(f"{name}: {value}" for name, value in given.headers.items()),
    ]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head if no_body else head + given.body


@lru_cache(1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
