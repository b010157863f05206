"""The HTTP side: it holds no model and never imports torch; it starts engines and asks them.

`serve.boot` starts it. Every body is JSON, unless predictions are accepted as another type; every
5xx carries an `id` under which the log has the reason.
"""

import logging
import uuid

from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from serve import card, echo, models_api, trace, transform
from serve.attributes import CUSTOM_ATTRIBUTES
from serve.flood import Flood
from serve.front import received
from serve.invocation import answer_to
from serve.readiness import READY, Pinged
from serve.refusal import BusyError, Refusal
from serve.server import Server
from serve.trace import server_timing
from serve.watch import Watch

logger = logging.getLogger("serve")
flood = Flood(logger)


def routes(server: Server) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.extensions["watch"] = server.watch  # the front refuses some requests before they come here
    pinged = Pinged()

    @app.route("/ping", methods=["GET", "POST"])
    def ping() -> ResponseReturnValue:
        state = server.state()
        pinged.note(state)
        return jsonify(state.as_dict()), 200 if state.name == READY else 503

    if server.loader is not None:
        models_api.add(app, server, server.loader)
    else:

        @app.post("/invocations")
        def invocations() -> ResponseReturnValue:
            asked = request.environ[received.KEY]
            trace.begin(asked.header(echo.INFERENCE_ID), asked.began)
            data, mimetype = answer_to(server, server.registry.only(), asked, request.args)
            return Response(data, content_type=mimetype)

        @app.get("/execution-parameters")
        def execution_parameters() -> ResponseReturnValue:
            engines = server.registry.only().keepers
            return jsonify(transform.parameters(server.settings, engines))

    if server.settings.metrics:

        @app.get("/metrics")
        def metrics() -> ResponseReturnValue:
            from serve import exposition  # its library is imported by the first scrape

            text, content_type = exposition.text(server.watch, request.headers.get("Accept", ""))
            return Response(text, content_type=content_type)

    if server.settings.page:

        @app.get("/")
        def page() -> ResponseReturnValue:
            from serve.page import page  # read by the first who looks

            up = {each.name: each.model.folder for each in server.registry.entries()}
            if server.loader is not None:
                made = page.of_many(up, request.args.get("model", ""), server.settings.top_k)
            else:
                made = page.html(card.read(up[""]), "/invocations", server.settings.top_k)
            return Response(made, headers=page.HEADERS, content_type="text/html; charset=utf-8")

    # what is registered last is called first
    app.after_request(lambda response: _timed(response, server.watch))
    app.after_request(_echo)
    app.register_error_handler(Refusal, _refused)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(MemoryError, _out_of_memory)
    app.register_error_handler(Exception, _defect)
    return app


def _refused(refusal: Refusal) -> ResponseReturnValue:
    trace.refused(refusal)
    body = refusal.as_dict()
    if refusal.status < 500:
        return jsonify(body), refusal.status
    body["id"] = uuid.uuid4().hex
    if not isinstance(refusal, BusyError):
        logger.warning("%d id=%s: %s", refusal.status, body["id"], refusal.message)
        return jsonify(body), refusal.status
    flood.say(refusal.message, f"503 id={body['id']}: {refusal.message}")
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
    trace.refused(error)
    identity = uuid.uuid4().hex
    logger.error("500 id=%s: %s", identity, error, exc_info=error)
    return jsonify({"error": "internal error; the log has it under this id", "id": identity}), 500


def _timed(response: Response, watch: Watch) -> Response:
    """Counts what was asked; says where its time went, if it was asked to."""
    done = watch.finish(response.status_code)
    if done is None or not done[0].timed:
        return response
    said = server_timing(*done)
    response.headers["Server-Timing"] = said
    if CUSTOM_ATTRIBUTES in response.headers:  # the only header that an endpoint passes on
        echoed = f"{response.headers[CUSTOM_ATTRIBUTES]}; server-timing=({said})"
        response.headers[CUSTOM_ATTRIBUTES] = echoed[: echo.MAX_CHARACTERS]
    return response


def _echo(response: Response) -> Response:
    """Custom attributes reach the client only if the answer carries them."""
    response.headers.update(echo.echoed(lambda name: request.headers.get(name, "")))
    return response
