"""The servers that are measured, started as they are used, and looked at from outside.

Ours is the image's own entry point, the Flask peer is gunicorn's; both under a base folder instead
of /opt/ml, or, with `image`, in containers of that image. LitServe and TorchServe run in the
environment that `make peers` makes, on this machine.
"""

import contextlib
import http.client
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
READY_SECONDS = 240
STOP_SECONDS = 60
POLL_SECONDS = 0.05
"""Between tries to connect; a server that listens is asked at once."""

OURS, FLASK, LITSERVE, TORCHSERVE = "ours", "flask", "litserve", "torchserve"
PEERS = (FLASK, LITSERVE, TORCHSERVE)
FLASK_APP = "benchmarks.peers.flask_eager:create_app()"
PEERS_PYTHON = PROJECT / ".venv-peers" / "bin" / "python"
"""What `make peers` makes: LitServe and TorchServe are in no other environment."""

BATCH = 8
"""Photos that LitServe and TorchServe may put together, as many as ours where torch answers."""
BATCH_MS = {LITSERVE: 0, TORCHSERVE: 5}
"""How long they wait for more: LitServe takes what is there, which is its default; TorchServe waits
for a batch, and 5 ms are little beside what a photo takes."""

SPINNING = (LITSERVE,)
"""Those whose processes ask for work without a break: 1.5 processors while nobody sends any."""

MEMORY = "sum over the server's processes of each one's peak resident memory (VmHWM)"
# a page that two processes share counts twice; in return, measuring does not disturb the server
PEAK = re.compile(r"^Name:\s*(\S+)$.*?^VmHWM:\s*(\d+) kB$", re.MULTILINE | re.DOTALL)
PSS = re.compile(r"^Pss:\s*(\d+) kB$", re.MULTILINE)
LOOKING = ("sh", "grep")
"""Processes in the container that are not the server's."""
MIB = 1 << 20


@dataclass(frozen=True)
class Place:
    """`base` holds `model`. `docker_options` go to `docker run`, for ours and the peer alike.
    `workers` are processes of a peer, with a copy of the model each; `settings` are ours."""

    base: Path
    image: str | None = None
    docker_options: str = ""
    workers: dict[str, int] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)

    def workers_of(self, name: str) -> int:
        """Flask has gunicorn's default; the others a process a processor with one thread each, as
        both decode in the process that computes: one decodes while another computes."""
        default = 1 if name == FLASK else len(os.sched_getaffinity(0))
        return self.workers.get(name, default)


@dataclass
class Server:
    process: "subprocess.Popen[bytes]"
    port: int
    log: IO[bytes]
    container: str | None
    start_seconds: float = 0.0
    facts: str = ""
    """What it says of itself on /ping, ours and Flask's as JSON: engine, device, threads."""

    def peak_memory_mib(self) -> float:
        """Of all its processes since the start."""
        if self.container:
            # a process may end while it is listed
            command = 'grep -hE "^(Name|VmHWM):" /proc/[0-9]*/status || true'
            text = docker("exec", self.container, "sh", "-c", command)
        else:
            text = "".join(Path(f"/proc/{each.pid}/status").read_text() for each in self._tree())
        return sum(int(kib) for name, kib in PEAK.findall(text) if name not in LOOKING) * 1024 / MIB

    def memory_mib(self) -> float:
        """Of all its processes now; a page that several share is divided among them."""
        if self.container:
            command = 'grep -hE "^Pss:" /proc/[0-9]*/smaps_rollup || true'
            text = docker("exec", self.container, "sh", "-c", command)
        else:
            files = (Path(f"/proc/{each.pid}/smaps_rollup") for each in self._tree())
            text = "".join(file.read_text() for file in files)
        return sum(int(kib) for kib in PSS.findall(text)) * 1024 / MIB

    def pause(self) -> None:
        """No process of it runs until `resume`. Not for containers."""
        for each in self._tree():
            each.suspend()

    def resume(self) -> None:
        for each in self._tree():
            each.resume()

    def _tree(self) -> list[psutil.Process]:
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def wait_until_ready(self) -> None:
        """Raises RuntimeError, with the end of the log, where it ends or takes too long."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}: {self.tail}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                with contextlib.closing(connection):
                    connection.request("GET", "/ping")
                    answer = connection.getresponse()
                    self.facts = answer.read().decode()
                if answer.status == 200:
                    return
            time.sleep(POLL_SECONDS)
        raise RuntimeError(f"the server was not ready within {READY_SECONDS} s: {self.tail}")

    def wait_for_an_answer(self, photo: bytes) -> None:
        """For a server whose /ping is green before it has loaded its model. Raises RuntimeError."""
        deadline = time.monotonic() + READY_SECONDS
        headers = {"Content-Type": "image/png"}
        while time.monotonic() < deadline and self.process.poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            with contextlib.closing(connection), contextlib.suppress(OSError):
                connection.request("POST", "/invocations", photo, headers)
                if connection.getresponse().status == 200:
                    return
            time.sleep(POLL_SECONDS)
        raise RuntimeError(f"the server did not predict within {READY_SECONDS} s: {self.tail}")

    @property
    def tail(self) -> str:
        return Path(self.log.name).read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        # a front end may leave its workers behind
        tree = self._tree() if self.process.poll() is None and not self.container else []
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for each in psutil.wait_procs(tree[1:], timeout=1)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.terminate()
        for each in psutil.wait_procs(tree[1:], timeout=10)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        if self.container:
            docker("rm", "--force", self.container)


@contextlib.contextmanager
def running(name: str, place: Place) -> Iterator[Server]:
    """A ready server with its time from start to the first good /ping; of TorchServe, whose /ping
    is green before its model is loaded, to the first prediction."""
    port = _free_port()
    container = f"benchmark-{name}-{uuid.uuid4().hex[:8]}" if place.image else None
    with tempfile.NamedTemporaryFile(prefix=f"{name}-", suffix=".log") as log:
        started = time.monotonic()
        process = subprocess.Popen(
            _command(name, place, port, container),
            env={**os.environ, **_environment(name, place, port)},
            stdout=log,
            stderr=log,
        )
        server = Server(process, port, log, container)
        try:
            server.wait_until_ready()
            if name == TORCHSERVE:
                server.wait_for_an_answer((place.base / "model" / "reference.png").read_bytes())
            server.start_seconds = time.monotonic() - started
            yield server
        finally:
            server.stop()


def _command(name: str, place: Place, port: int, container: str | None) -> list[str]:
    ours = ["-P", "-m", "container.entrypoint", "serve"]
    gunicorn = ["-P", "-m", "gunicorn", "--no-control-socket", "--bind"]
    if container is None:
        if name in (LITSERVE, TORCHSERVE):
            return [str(PEERS_PYTHON), "-P", "-m", f"benchmarks.peers.{name}_server"]
        peer = [*gunicorn, f"127.0.0.1:{port}", FLASK_APP]
        return [sys.executable, *(ours if name == OURS else peer)]
    options = ["--rm", "--name", container, "--publish", f"127.0.0.1:{port}:8080"]
    options += ["--volume", f"{place.base / 'model'}:/opt/ml/model:ro"]
    options += shlex.split(place.docker_options)
    image = str(place.image)
    if name == OURS:
        for each, value in place.settings.items():
            options += ["--env", f"{each}={value}"]
        return ["docker", "run", *options, image, "serve"]
    options += ["--volume", f"{HERE}:/opt/benchmark/benchmarks:ro", "--entrypoint", "python"]
    options += ["--env", "PYTHONPATH=/opt/benchmark"]
    options += ["--env", f"WEB_CONCURRENCY={place.workers_of(FLASK)}"]
    return ["docker", "run", *options, image, *gunicorn, "0.0.0.0:8080", FLASK_APP]


def _environment(name: str, place: Place, port: int) -> dict[str, str]:
    shared = {"PYTHONPATH": str(PROJECT)}
    if name == OURS:
        mine = {"SAGEMAKER_BASE_DIR": str(place.base), "SAGEMAKER_BIND_TO_PORT": str(port)}
        return {**shared, **mine, **place.settings}
    peer = {**shared, "MODEL_DIR": str(place.base / "model")}
    workers = str(place.workers_of(name))
    if name == FLASK:
        return {**peer, "WEB_CONCURRENCY": workers}
    batch = {"BATCH": str(BATCH), "BATCH_MS": str(BATCH_MS[name])}
    scratch = {"SCRATCH": str(place.base), "PORT": str(port)}
    return {**peer, **batch, **scratch, "WORKERS": workers}


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def docker(*arguments: str) -> str:
    """Its output, or "" where it fails."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""
