"""TorchServe's handler: what it has batched comes as one list; `torchserve_server` starts it."""

import os
from typing import Any

from benchmarks.peers.eager import Eager

WORKERS = int(os.environ.get("WORKERS", "1"))


class Photos:
    def initialize(self, context: Any) -> None:
        self.eager = Eager(max(1, len(os.sched_getaffinity(0)) // WORKERS))

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[dict[str, Any]]:
        photos = [self.eager.decode(bytes(row.get("data") or row["body"])) for row in data]
        answers = self.eager.classify(photos)
        return [{"predictions": [{**top[0], "top_k": top}]} for top in answers]
