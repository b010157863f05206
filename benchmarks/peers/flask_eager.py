"""A plain model server: Flask, one photo at a time, float32 eager torchvision, JSON.

    MODEL_DIR=FOLDER gunicorn --bind 127.0.0.1:8080 'benchmarks.peers.flask_eager:create_app()'

It answers the same two routes from the same artifact.
"""

import os

import torch
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from benchmarks.peers.eager import Eager


def create_app() -> Flask:
    # gunicorn's default, one sync worker, is the usual start: one copy of the model in memory, and
    # every processor on one photo. WEB_CONCURRENCY is gunicorn's own name for more workers.
    workers = int(os.environ.get("WEB_CONCURRENCY", "1"))
    eager = Eager(max(1, len(os.sched_getaffinity(0)) // workers))
    app = Flask(__name__)

    @app.get("/ping")
    def ping() -> ResponseReturnValue:
        threads = torch.get_num_threads()
        return jsonify(progress=f"eager float32 on {eager.device.type}, {threads} threads")

    @app.post("/invocations")
    def invocations() -> ResponseReturnValue:
        top = eager.classify([eager.decode(request.get_data())])[0]
        return jsonify(predictions=[{**top[0], "top_k": top}])

    return app
