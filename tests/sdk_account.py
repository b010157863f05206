"""An account of the platform on this machine: moto's server over HTTP, in a process of its own."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import moto.server
from moto.core.responses import ActionResult
from moto.sagemaker import responses

from tests.serving import free_port
from tests.tree import ROOT

KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass
class Account:
    url: str
    log: Path

    def requests(self, action: str) -> list[dict[str, Any]]:
        """What was asked, as it was sent: moto answers some of it with values of its own."""
        sent = (json.loads(line) for line in self.log.read_text().splitlines())
        return [each["body"] for each in sent if each["action"] == action]


@contextmanager
def running(folder: Path) -> Iterator[Account]:
    """An account that nobody else has."""
    port = free_port()
    log, asked = folder / "log", folder / "requests"
    asked.touch()
    with log.open("w") as file:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.sdk_account", "-H", "127.0.0.1", "-p", str(port)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "REQUESTS": str(asked)},
            cwd=ROOT, stdout=file, stderr=file,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline, log.read_text()
                    time.sleep(0.1)
            yield Account(f"http://127.0.0.1:{port}", asked)
        finally:
            server.terminate()
            server.wait(30)


answer = responses.SageMakerResponse.call_action


def recorded_answer(response: responses.SageMakerResponse) -> Any:
    line = {"action": response._get_action(), "body": json.loads(response.body)}
    with Path(os.environ["REQUESTS"]).open("a") as file:
        file.write(json.dumps(line) + "\n")
    return answer(response)


def result_without_empty(result: Any) -> ActionResult:
    """The platform leaves out what there is none of; moto says {}, which SDK v3 refuses to read."""
    if isinstance(result, dict):
        result = {name: value for name, value in result.items() if value != {}}
    return ActionResult(result)


if __name__ == "__main__":
    responses.SageMakerResponse.call_action = recorded_answer
    responses.ActionResult = result_without_empty
    moto.server.main(sys.argv[1:])
