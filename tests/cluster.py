"""Several hosts on this machine: one real supervisor each, with a loopback address of its own."""

import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from tests.tree import ROOT, Tree

DOCKER_FREE_HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
"""Linux answers for all of 127.0.0.0/8, so a host's name can be its address."""


def free_port() -> int:
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def resource_config(hosts, current, interface="lo", **more):
    return {"current_host": current, "hosts": list(hosts), "network_interface_name": interface,
            **more}  # fmt: skip


class Hosts:
    """Trees and supervisors of a job's hosts."""

    def __init__(self, folder: Path, count: int, wait_seconds: float = 60) -> None:
        self.names = DOCKER_FREE_HOSTS[:count]
        self.trees = [Tree(folder / f"host-{number}") for number in range(count)]
        for name, tree in zip(self.names, self.trees, strict=True):
            tree.config("resourceconfig.json", resource_config(self.names, name))
        self.environment = {
            "CLUSTER_PORT": str(free_port()),
            "CLUSTER_WAIT_SECONDS": str(wait_seconds),
            "TRAINING_JOB_NAME": folder.name,
            "OMP_NUM_THREADS": "1",
        }
        self.running: dict[int, subprocess.Popen] = {}
        self.logs = [folder / f"host-{number}.log" for number in range(count)]

    def channel(self, *arguments, **options) -> None:
        for tree in self.trees:
            tree.channel(*arguments, **options)

    def start(self, *numbers: int, **hyperparameters: str) -> None:
        for number in numbers or range(len(self.trees)):
            command, environment = self.trees[number].command(**hyperparameters)
            with self.logs[number].open("wb") as log:
                self.running[number] = subprocess.Popen(
                    command, env={**environment, **self.environment}, cwd=ROOT,
                    stdout=log, stderr=subprocess.STDOUT,
                )  # fmt: skip

    def wait(self, seconds: float = 120) -> list[int]:
        """Exit codes, in the order of the hosts."""
        deadline = time.monotonic() + seconds
        return [
            self.running[number].wait(max(1, deadline - time.monotonic()))
            for number in sorted(self.running)
        ]

    def log(self, number: int) -> str:
        return self.logs[number].read_text(errors="replace")

    def wait_for(self, number: int, words: str, seconds: float = 90) -> None:
        """Until the host's log holds the words."""
        deadline = time.monotonic() + seconds
        while words not in self.log(number):
            assert time.monotonic() < deadline, f"no {words!r} in: {self.log(number)}"
            assert self.running[number].poll() is None, self.log(number)
            time.sleep(0.1)

    def rank(self, number: int) -> int:
        """The process id of the host's training process."""
        for line in processes():
            pid, parent, command = line.split(None, 2)
            if int(parent) == self.running[number].pid and command.endswith("-m train"):
                return int(pid)
        raise AssertionError(f"host {number} has no training process")

    def end(self) -> None:
        for process in self.running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def processes() -> list[str]:
    """Process id, parent and command of all processes."""
    listed = subprocess.run(
        ["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    return listed.stdout.splitlines()


@contextmanager
def hosts(folder: Path, count: int = 2, **options):
    folder.mkdir(parents=True, exist_ok=True)
    made = Hosts(folder, count, **options)
    try:
        yield made
    finally:
        made.end()
