"""A whole request -> the bytes of its answer, from the application or of our own making."""

import http
import json
import logging
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from gunicorn import util
from gunicorn.http import wsgi

from serve.echo import echoed
from serve.flood import Flood
from serve.front.received import KEY, Received
from serve.refusal import BusyError, Refusal

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

log = logging.getLogger("serve")


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


def refuse(refusal: Refusal, request: Any, flood: Flood, close: bool) -> bytes:
    """The answer to what never reaches the application; `request` is None without a whole head."""
    body = refusal.as_dict()
    headers = dict(getattr(request, "headers", []))
    given = echoed(lambda name: headers.get(name.upper(), ""))
    if isinstance(refusal, BusyError):
        body["id"] = uuid.uuid4().hex
        given["Retry-After"] = str(refusal.retry_seconds)
        flood.say(refusal.message, f"503 id={body['id']}: {refusal.message}")
    return _bytes(refusal.status, body, given, close, getattr(request, "method", "") == "HEAD")


def fail(error: BaseException) -> bytes:
    """The answer where the application broke."""
    identity = uuid.uuid4().hex
    log.error("500 id=%s: %s", identity, error, exc_info=error)
    body = {"error": "internal error; the log has it under this id", "id": identity}
    return _bytes(500, body, {}, close=True, no_body=False)


def _bytes(
    status: int, body: dict[str, Any], given: dict[str, str], close: bool, no_body: bool
) -> bytes:
    text = json.dumps(body).encode() + b"\n"
    lines = [
        f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}",
        f"Server: {wsgi.SERVER}",
        f"Date: {util.http_date()}",
        f"Connection: {'close' if close else 'keep-alive'}",
        "Content-Type: application/json",
        f"Content-Length: {len(text)}",
        *(f"{name}: {value}" for name, value in given.items()),
    ]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head if no_body else head + text
