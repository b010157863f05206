"""The container's own server, on a free port, with the settings that it would have."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from bench.client import HOST
from bench.load import BenchError

READY_SECONDS = 480
"""The platform's own limit."""
POLL_SECONDS = 0.1
STOP_SECONDS = 30


@contextlib.contextmanager
def running() -> Iterator[tuple[int, str]]:
    """Its port, and what it says of its engine. Raises BenchError with the end of its log."""
    port = _free_port()
    environment = {**os.environ, "SAGEMAKER_BIND_TO_PORT": str(port)}
    command = [sys.executable, "-P", "-m", "container.entrypoint", "serve"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            yield port, _wait(process, port)
        except BenchError as error:
            log.seek(0)
            tail = log.read()[-2000:].decode(errors="replace").strip()
            raise BenchError(f"{error}\n{tail}" if tail else str(error)) from None
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int) -> str:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchError(f"the server ended with {process.returncode}; its log ends with:")
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            connection = http.client.HTTPConnection(HOST, port, timeout=10)
            with contextlib.closing(connection):
                connection.request("GET", "/ping")
                answer = connection.getresponse()
                told = json.loads(answer.read())
            if answer.status == 200:
                return str(told.get("progress", ""))
        time.sleep(POLL_SECONDS)
    raise BenchError(f"the server was not ready within {READY_SECONDS} s; its log ends with:")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port
