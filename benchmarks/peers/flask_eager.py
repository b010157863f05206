"""A plain model server: Flask, one photo at a time, float32 eager torchvision, JSON.

    MODEL_DIR=FOLDER gunicorn --bind 127.0.0.1:8080 'benchmarks.peers.flask_eager:create_app()'

It answers the same two routes from the same artifact. Nothing in it is slow on purpose: inference
mode, all processors, the weights loaded once.
"""

import io
import json
import os
from pathlib import Path

import torch
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from PIL import Image
from safetensors.torch import load_file
from torchvision import transforms

from artifact import network

TOP = 5


def create_app() -> Flask:
    folder = Path(os.environ.get("MODEL_DIR", "/opt/ml/model"))
    described = json.loads((folder / "model.json").read_text())
    rules, labels = described["preprocessing"], described["labels"]
    # gunicorn's default, one sync worker, is the usual start: one copy of the model in memory, and
    # every processor on one photo. WEB_CONCURRENCY is gunicorn's own name for more workers.
    workers = int(os.environ.get("WEB_CONCURRENCY", "1"))
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // workers))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # for torchvision's networks this is torchvision.models.get_model(name, num_classes=...)
    model = network.build(described["network"], len(labels), (), rules["image_size"])
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    model.eval().to(device)
    to_tensor = transforms.Compose(
        [
            transforms.Resize(rules["resize"]),
            transforms.CenterCrop(rules["image_size"]),
            transforms.ToTensor(),
            transforms.Normalize(rules["mean"], rules["std"]),
        ]
    )
    app = Flask(__name__)

    @app.get("/ping")
    def ping() -> ResponseReturnValue:
        threads = torch.get_num_threads()
        return jsonify(progress=f"eager float32 on {device.type}, {threads} threads")

    @app.post("/invocations")
    def invocations() -> ResponseReturnValue:
        image = Image.open(io.BytesIO(request.get_data())).convert("RGB")
        with torch.inference_mode():
            logits = model(to_tensor(image)[None].to(device))
            probabilities, indices = torch.softmax(logits[0], 0).topk(min(TOP, len(labels)))
        top = [
            {"label": labels[index], "index": index, "probability": probability}
            for index, probability in zip(indices.tolist(), probabilities.tolist(), strict=True)
        ]
        return jsonify(predictions=[{**top[0], "top_k": top}])

    return app
