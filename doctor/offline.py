"""Whether jobs that start from published weights find them without a network."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from doctor.check import Finding, ok, warning

HOST, SECONDS = "download.pytorch.org", 3.0
FOLDER = "PRETRAINED_DIR"


def weights() -> Iterator[Finding]:
    folder = os.environ.get(FOLDER)
    baked = sorted(path.stem for path in Path(folder).glob("*.safetensors")) if folder else []
    if baked:
        yield ok("offline", f"weights in the image: {', '.join(baked)}")
        return
    try:
        socket.create_connection((HOST, 443), SECONDS).close()
    except OSError as error:
        yield warning(
            "offline", f"no weights in the image, and {HOST} cannot be reached ({error}): jobs "
            "with pretrained=true end at once",
            "build with --build-arg PRETRAINED=resnet50, or give jobs a pretrained channel",
        )  # fmt: skip
        return
    yield ok("offline", f"no weights in the image; {HOST} can be reached from here")
