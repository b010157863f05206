"""An account of the platform on this machine: moto's server over HTTP, in a process of its own."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import moto.server
from moto.core.responses import ActionResult
from moto.sagemaker import responses

from tests.account import answering
from tests.serving import free_port


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
    asked = folder / "requests"
    asked.touch()
    words = ("tests.sdk_account", "-H", "127.0.0.1", "-p", str(port))
    with answering(folder, port, *words, REQUESTS=str(asked)):
        yield Account(f"http://127.0.0.1:{port}", asked)


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
