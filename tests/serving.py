"""A real server for the tests: the image's own entry point, under a base folder of the test's."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 120


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ping(self) -> requests.Response:
        return requests.get(f"{self.url}/ping", timeout=2)

    def invoke(
        self,
        body: bytes,
        content_type: str | None = "image/jpeg",
        accept: str | None = None,
        **more: str,
    ) -> requests.Response:
        given = {"Content-Type": content_type, "Accept": accept}
        headers = {name: value for name, value in given.items() if value is not None}
        query = more.pop("query", "")
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        return requests.post(f"{self.url}/invocations{query}", body, headers=headers, timeout=90)

    def measured(self, name: str) -> float:
        """Of a server of one model, as /metrics tells it; 0 where nothing has been counted."""
        told = requests.get(f"{self.url}/metrics", timeout=10).text.splitlines()
        start = f"image_classification_{name}{{"
        return sum(float(line.split()[-1]) for line in told if line.startswith(start))

    def wait(self, status: int, seconds: float = START_SECONDS) -> float:
        """Seconds until /ping answers `status`. Its first answer may take long: gunicorn's parent
        listens before there is an HTTP process that accepts. Those after it may not."""
        start, answered = time.monotonic(), False
        while time.monotonic() - start < seconds:
            assert self.process.poll() is None, self.log.read_text()
            try:
                found = self.ping().status_code
                if found == status:
                    return time.monotonic() - start
                answered = True
            except requests.ConnectionError:
                pass
            except requests.Timeout:
                assert not answered, f"/ping took too long: {self.log.read_text()}"
            time.sleep(0.05)
        raise AssertionError(f"/ping was not {status} within {seconds} s: {self.log.read_text()}")

    def worker(self) -> psutil.Process:
        """The HTTP process."""
        return psutil.Process(self.process.pid).children()[0]

    def engine(self) -> psutil.Process:
        return self.worker().children()[0]

    def stop(self, signum: int = signal.SIGTERM) -> int:
        self.process.send_signal(signum)
        return self.process.wait(40)


def launch(base: Path, log: Path, **settings: str) -> Server:
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "METRICS_RECORD_SECONDS": "0",  # tests compare logs; those of the records ask for them
        **settings,
    }
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "container.entrypoint", "serve"],
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    return Server(process, port, log)


@contextmanager
def running(base: Path, log: Path, **settings: str) -> Iterator[Server]:
    """A server that is ready; killed at the end, whatever happened."""
    server = launch(base, log, **settings)
    try:
        server.wait(200)
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def until(reached: Callable[[], bool], seconds: float = 8) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(process: psutil.Process, seconds: float = 5) -> bool:
    """Whether it ends in time; a zombie that nobody buries has ended too."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False
