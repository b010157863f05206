"""The routes of a server that has many models: load, list, describe, unload, invoke.

Names of fields, paths and status codes are the platform's.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue

from serve import echo, trace
from serve.front.acceptor import CONTROL_THREADS
from serve.front.received import KEY
from serve.invocation import answer_to
from serve.loader import Loader
from serve.refusal import BusyError, MissingError, PayloadError, TooLargeError
from serve.server import Server

MAX_ORDER_BYTES = 64 << 10
PAGE = 100
MAX_PAGE = 1000

LOADS = CONTROL_THREADS - 4
"""In hand, those that wait for their turn too; other requests that are no invocations have the
rest of the threads to themselves."""


def add(app: Flask, server: Server, loader: Loader) -> None:
    loads = threading.BoundedSemaphore(LOADS)

    @app.post("/models")
    def load() -> ResponseReturnValue:
        order = _order()
        with _one_of(loads):
            return jsonify(loader.load(order.get("model_name"), order.get("url")).as_dict())

    @app.get("/models")
    def models() -> ResponseReturnValue:
        after = request.args.get("next_page_token", "")
        page, token = server.registry.page(after, _limit(request.args.get("limit", "")))
        more = {"nextPageToken": token} if token else {}
        return jsonify({"models": [slot.as_dict() for slot in page], **more})

    @app.get("/models/<name>")
    def model(name: str) -> ResponseReturnValue:
        return jsonify(server.registry.find(name).as_dict())

    @app.delete("/models/<name>")
    def unload(name: str) -> ResponseReturnValue:
        return jsonify(loader.unload(name).as_dict())

    @app.post("/models/<name>/invoke")
    def invoke(name: str) -> ResponseReturnValue:
        asked = request.environ[KEY]
        trace.begin(asked.header(echo.INFERENCE_ID), asked.began)
        entry = server.registry.find(name).entry
        if entry is None:
            raise MissingError(f"model {name!r} is not loaded")
        with entry.traffic.one():
            data, mimetype = answer_to(server, entry, asked, request.args)
        return Response(data, content_type=mimetype)

    @app.post("/invocations")
    def invocations() -> ResponseReturnValue:
        raise MissingError("this server has many models: POST /models/NAME/invoke")


@contextmanager
def _one_of(loads: threading.BoundedSemaphore) -> Iterator[None]:
    if not loads.acquire(blocking=False):
        raise BusyError(f"{LOADS} models are being loaded, which is the limit", limit=LOADS)
    try:
        yield
    finally:
        loads.release()


def _order() -> dict[str, Any]:
    received = request.environ[KEY]
    if received.bytes > MAX_ORDER_BYTES:
        raise TooLargeError(
            f"the body has {received.bytes:,} bytes; a name and a path have {MAX_ORDER_BYTES:,} "
            "at most",
            limit=MAX_ORDER_BYTES,
            received=received.bytes,
        )
    try:
        order = json.loads(received.body.getvalue())
    except (ValueError, RecursionError):
        order = None
    if not isinstance(order, dict):
        raise PayloadError('the body is no JSON object; expected {"model_name": ..., "url": ...}')
    return order


def _limit(text: str) -> int:
    """Models on a page."""
    if not text:
        return PAGE
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= MAX_PAGE):
        raise PayloadError(f"limit={text[:40]!r}: expected a whole number from 1 to {MAX_PAGE:,}")
    return int(text)
