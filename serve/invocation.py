"""The way of one request to /invocations: body -> images -> engine -> the accepted type."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Response, request
from gunicorn.http.errors import ParseException

from serve import accept, answer, attributes, payload, trace
from serve.answer import Form, Outcome
from serve.attributes import CUSTOM_ATTRIBUTES
from serve.batcher import Batcher
from serve.readiness import READY
from serve.refusal import BusyError, PayloadError, SlowClientError, TooLargeError
from serve.server import Server


def answer_to(server: Server) -> Response:
    """Raises a Refusal for what cannot be answered; its class says whose fault that is."""
    custom_attributes = request.headers.get(CUSTOM_ATTRIBUTES, "")
    trace.asks(server.name, attributes.timing(request.args.get("timing"), custom_attributes))
    with _room(server):
        return _answer(server, custom_attributes)


def _answer(server: Server, custom_attributes: str) -> Response:
    settings, model = server.settings, server.model
    deadline = time.monotonic() + settings.deadline_seconds
    state = server.readiness.whole()
    if state.name != READY:
        raise BusyError(f"no engine is ready: {state.reason}", state=state.name)
    content_type = request.headers.get("Content-Type", "")
    payload.check_type(content_type)
    wanted = accept.choose(request.headers.get("Accept", ""), settings.accept)
    asked = attributes.top_k(request.args.get("top_k"), custom_attributes, settings.top_k)
    body = _body(settings.max_payload_bytes, deadline)
    trace.mark("read")
    rules = payload.Rules(model.preprocessing, settings.max_pixels, settings.item_limit)
    with _decoding(server, deadline):
        decoded = payload.decode(body, content_type, rules)
    trace.mark("decode")
    outcomes = _classify(server.batcher, decoded.items, deadline)
    answer.check(outcomes)
    form = Form(wanted, model.labels, asked, decoded.single, model.thresholds)
    data, mimetype = answer.encode(outcomes, form)
    trace.mark("encode")
    return Response(data, content_type=mimetype)


@contextmanager
def _room(server: Server) -> Iterator[None]:
    """One of the places for requests in hand; the threads beyond them are /ping's."""
    limit = server.settings.request_limit
    if not server.room.acquire(blocking=False):
        raise BusyError(f"{limit} requests are in hand, which is the limit", limit=limit)
    try:
        yield
    finally:
        server.room.release()


def _body(limit: int, deadline: float) -> bytes:
    """The whole body, however it is sent. A client that stops sending does not keep its thread.

    Read here and not by Flask, which cuts a chunked body at the limit without a word.
    """
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    sock, stream = request.environ["gunicorn.socket"], request.environ["wsgi.input"]
    sock.settimeout(max(1.0, deadline - time.monotonic()))
    try:
        body: bytes = stream.read(limit + 1)
    except TimeoutError:
        raise SlowClientError("the body did not arrive within the request's time") from None
    except (OSError, ParseException) as error:
        raise PayloadError(f"the body was cut short or sent in bad chunks: {error}") from None
    finally:
        sock.settimeout(None)
    if len(body) > limit:
        raise _too_large(limit)
    return body


@contextmanager
def _decoding(server: Server, deadline: float) -> Iterator[None]:
    """As many at a time as there are processors: more would only take more memory."""
    if not server.decoding.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise BusyError("the request's time ran out while it waited to be decoded")
    try:
        yield
    finally:
        server.decoding.release()


def _classify(batcher: Batcher, items: list[payload.Item], deadline: float) -> list[Outcome]:
    """An outcome for each item; only those that could be read are sent to the engine."""
    images = [item.image for item in items if item.image is not None]
    rows = iter(batcher.classify(images, deadline) if images else [])
    outcomes = []
    for item in items:
        if item.image is None:
            outcomes.append(Outcome(error=item.error, id=item.id))
            continue
        row = next(rows)
        if answer.is_distribution(row):
            outcomes.append(Outcome(row, id=item.id))
        else:
            error = PayloadError("the numbers are too large for the network; normalise them")
            outcomes.append(Outcome(error=error, id=item.id))
    return outcomes


def _too_large(limit: int) -> TooLargeError:
    received = request.content_length
    said = f"{received:,} bytes were sent" if received else "more was sent, in chunks"
    return TooLargeError(
        f"a body may have {limit:,} bytes, {said}; send encoded photos, not their pixels",
        limit=limit,
        received=received,
    )
