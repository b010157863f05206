"""The HTTP side: it holds no model and never imports torch; it starts engines and asks them.

`serve.boot` starts it. Flask has the routes, but for the one that all the load is on: what it and
WSGI do for a request takes as long as all that is done about a photo but to decode it.
"""

from functools import partial
from urllib.parse import parse_qsl

from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from serve import card, echo, models_api, reply, trace, transform
from serve.front import received
from serve.front.application import Direct
from serve.front.received import Received
from serve.invocation import answer_to
from serve.readiness import READY, Pinged
from serve.reply import Reply
from serve.server import Server


def routes(server: Server) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.extensions["watch"] = server.watch  # the front refuses some requests before they come here
    direct: Direct = {}
    app.extensions["direct"] = direct
    pinged = Pinged()

    @app.route("/ping", methods=["GET", "POST"])
    def ping() -> ResponseReturnValue:
        state = server.state()
        pinged.note(state)
        return jsonify(state.as_dict()), 200 if state.name == READY else 503

    if server.loader is not None:
        models_api.add(app, server, server.loader)
    else:
        answer = partial(invocations, server)
        direct["POST", "/invocations"] = answer

        @app.post("/invocations")  # for paths that mean the same, and the answer to other methods
        def invoke() -> ResponseReturnValue:
            return _response(answer(request.environ[received.KEY]))

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

    app.after_request(partial(_closing, server))
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, lambda error: _response(reply.of(error)))
    return app


def invocations(server: Server, asked: Received) -> Reply:
    """The answer of the one model."""
    trace.begin(asked.header(echo.INFERENCE_ID), asked.began)
    try:
        query = asked.request.query
        # of a name that comes twice the first counts
        named = dict(reversed(parse_qsl(query, keep_blank_values=True))) if query else {}
        body, content_type = answer_to(server, server.registry.only(), asked, named)
        given = Reply(200, body, content_type)
    except Exception as error:
        given = reply.of(error)
    given.headers.update(reply.closing(given.status, server.watch.finish, asked.header))
    return given


def _response(given: Reply) -> Response:
    return Response(
        given.body, given.status, content_type=given.content_type, headers=given.headers
    )


def _http_error(error: HTTPException) -> ResponseReturnValue:
    """Paths and methods that there are not: answered quietly, the platform asks for /metrics."""
    body = {"error": f"{request.method} {request.path[:200]}: {error.name}"}
    return jsonify(body), error.code or 500, _allowed(error)


def _allowed(error: HTTPException) -> dict[str, str]:
    methods = getattr(error, "valid_methods", None)
    return {"Allow": ", ".join(sorted(methods))} if methods else {}


def _closing(server: Server, response: Response) -> Response:
    asked: Received = request.environ[received.KEY]
    response.headers.update(reply.closing(response.status_code, server.watch.finish, asked.header))
    return response
