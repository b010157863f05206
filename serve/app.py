"""The HTTP side: it holds no model and never imports torch; it starts engines and asks them.

Run by gunicorn as `serve.app:create_app()`. Every body is JSON, unless predictions are accepted as
another type; every 5xx carries an `id` under which the log has the reason.
"""

import atexit
import logging
import logging.config
import re
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException

from container import last_words, log, opt_ml, resources
from container.failure import Failure, classify, reason
from container.settings import Settings
from serve import accept, answer, attributes, payload
from serve.answer import Form, Outcome
from serve.batcher import Batcher
from serve.engine import keeper
from serve.model import Model
from serve.readiness import READY, Readiness
from serve.refusal import BusyError, PayloadError, Refusal, SlowClientError, TooLargeError

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
INFERENCE_ID = "X-Amzn-SageMaker-Inference-Id"
ECHOED = (CUSTOM_ATTRIBUTES, INFERENCE_ID)
MAX_ECHO_CHARACTERS = 1024

BOOT_ERROR = 3
"""gunicorn's own exit code for a worker that must not be started again."""

logger = logging.getLogger("serve")


@dataclass
class Server:
    """What the requests share. `room` bounds requests in hand, `decoding` the memory of photos."""

    settings: Settings
    model: Model
    batcher: Batcher
    readiness: Readiness
    room: threading.Semaphore
    decoding: threading.Semaphore


def create_app() -> Flask:
    """What gunicorn calls. A server that cannot be made ends the container with its reason."""
    settings = Settings.read()
    logging.config.dictConfig(log.configuration(settings.log_level))
    try:
        return routes(start(settings, opt_ml.Paths(opt_ml.base()).model))
    except Exception as error:
        failure = classify(error)
        if not isinstance(error, Failure):
            logger.exception("the server cannot start")
        last_words.leave(reason(failure, error))
        sys.exit(BOOT_ERROR)


def start(settings: Settings, model_dir: Path) -> Server:
    """Starts the engines. Raises ModelError where the model cannot be read."""
    model = Model.read(model_dir)
    gpus = resources.gpu_count()
    server = Server(
        settings,
        model,
        Batcher(settings.queue_images),
        Readiness(max(1, gpus)),
        threading.Semaphore(settings.request_limit),
        threading.Semaphore(resources.cpu_count()),
    )
    keepers = keeper.start(model, settings, server.batcher, server.readiness, gpus)
    for each in keepers:
        atexit.register(each.close)
    return server


def routes(server: Server) -> Flask:
    app = Flask(__name__, static_folder=None)

    @app.route("/ping", methods=["GET", "POST"])
    def ping() -> ResponseReturnValue:
        state = server.readiness.whole()
        return jsonify(state.as_dict()), 200 if state.name == READY else 503

    @app.post("/invocations")
    def invocations() -> ResponseReturnValue:
        with _room(server):
            return _invoke(server)

    app.after_request(_echo)
    app.register_error_handler(Refusal, _refused)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(MemoryError, _out_of_memory)
    app.register_error_handler(Exception, _defect)
    return app


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


def _invoke(server: Server) -> Response:
    settings, model = server.settings, server.model
    deadline = time.monotonic() + settings.deadline_seconds
    state = server.readiness.whole()
    if state.name != READY:
        raise BusyError(f"no engine is ready: {state.reason}", state=state.name)
    content_type = request.headers.get("Content-Type", "")
    payload.check_type(content_type)
    wanted = accept.choose(request.headers.get("Accept", ""), settings.accept)
    asked = attributes.top_k(
        request.args.get("top_k"), request.headers.get(CUSTOM_ATTRIBUTES, ""), settings.top_k
    )
    body = _body(settings.max_payload_bytes, deadline)
    rules = payload.Rules(model.preprocessing, settings.max_pixels, settings.item_limit)
    with _decoding(server, deadline):
        decoded = payload.decode(body, content_type, rules)
    outcomes = _classify(server.batcher, decoded.items, deadline)
    answer.check(outcomes)
    form = Form(wanted, model.labels, asked, decoded.single, model.thresholds)
    data, mimetype = answer.encode(outcomes, form)
    return Response(data, content_type=mimetype)


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


def _refused(refusal: Refusal) -> ResponseReturnValue:
    body = refusal.as_dict()
    if not isinstance(refusal, BusyError):
        return jsonify(body), refusal.status
    body["id"] = uuid.uuid4().hex
    logger.info("503 id=%s: %s", body["id"], refusal.message)
    return jsonify(body), refusal.status, {"Retry-After": str(refusal.retry_seconds)}


def _http_error(error: HTTPException) -> ResponseReturnValue:
    """Paths and methods that there are not: answered quietly, the platform asks for /metrics."""
    body = {"error": f"{request.method} {request.path[:200]}: {error.name}"}
    return jsonify(body), error.code or 500, _allowed(error)


def _allowed(error: HTTPException) -> dict[str, str]:
    methods = getattr(error, "valid_methods", None)
    return {"Allow": ", ".join(sorted(methods))} if methods else {}


def _out_of_memory(error: Exception) -> ResponseReturnValue:
    logger.error("out of memory while reading a request")
    return _refused(BusyError("the server has no memory left for this request"))


def _defect(error: Exception) -> ResponseReturnValue:
    identity = uuid.uuid4().hex
    logger.error("500 id=%s: %s", identity, error, exc_info=error)
    return jsonify({"error": "internal error; the log has it under this id", "id": identity}), 500


def _echo(response: Response) -> Response:
    """Custom attributes reach the client only if the answer carries them."""
    for name in ECHOED:
        value = request.headers.get(name, "")[:MAX_ECHO_CHARACTERS]
        if value and re.fullmatch(r"[\x20-\x7e\t]+", value):
            response.headers[name] = value
    return response
