"""LitServe with its own batching: photos that wait are one batch, in as many processes as asked.

    python -m benchmarks.peers.litserve_server

The environment says MODEL_DIR, PORT, WORKERS, BATCH and BATCH_MS.

Bodies are raw JPEGs, which LitServe takes where the request is declared as bytes: neither base64
nor a form costs it anything. `WORKERS` processes share the processors out among them.
"""

import os
from typing import Annotated, Any

import litserve
import torch
from fastapi import Body

from benchmarks.peers.eager import Eager

WORKERS = int(os.environ.get("WORKERS", "1"))


class Photos(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:
        self.eager = Eager(max(1, len(os.sched_getaffinity(0)) // WORKERS))

    def decode_request(self, request: Annotated[bytes, Body()]) -> torch.Tensor:
        return self.eager.decode(request)

    def batch(self, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        return inputs

    def predict(self, x: list[torch.Tensor]) -> list[list[dict[str, Any]]]:
        return self.eager.classify(x)

    def unbatch(self, output: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
        return output

    def encode_response(self, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {"predictions": [{**output[0], "top_k": output}]}


def main() -> None:
    api = Photos(
        max_batch_size=int(os.environ.get("BATCH", "8")),
        batch_timeout=float(os.environ.get("BATCH_MS", "0")) / 1000,
        api_path="/invocations",
    )
    server = litserve.LitServer(
        api,
        accelerator="auto",
        workers_per_device=WORKERS,
        healthcheck_path="/ping",
        timeout=120,
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
