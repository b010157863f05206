"""Starts a job's program, passes signals on, and turns any death into a failure reason.

    python -m container.supervisor train

One process where there is one host with at most one GPU; else one per GPU on every host, watched
together with the other hosts' supervisors (`container/watch.py`).

It stays so small that it survives what kills the program: the kernel's memory killer picks the
large process, and this one is left to say so. As process 1 it also buries orphans.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType

from container import (
    cluster,
    failure,
    opt_ml,
    ranks,
    rendezvous,
    resources,
    script_mode,
    watch,
)
from container.cluster import Cluster
from container.link import Links
from container.pump import Output
from container.ranks import Rank, Ranks
from container.watch import Watch

GRACE_SECONDS = 100
"""The platform kills 120 s after SIGTERM; the reason must be on disk before."""

FLUSH_SECONDS = 5
"""For the last output of a program that has ended."""

GIB = 1 << 30


def child_environment(environment: dict[str, str]) -> dict[str, str]:
    """Threads planned from this container's share; caches in a scratch folder, never under HOME."""
    scratch = Path(tempfile.gettempdir()) / f"cache-{os.getuid()}"
    here = int(environment.get(resources.PROCESSES_HERE) or 1)
    planned = {
        "OMP_NUM_THREADS": str(max(1, resources.cpu_count() // here)),
        # threads that spin while they wait take the processors from the workers that they wait for
        "OMP_WAIT_POLICY": "passive",
        "PYTHONUNBUFFERED": "1",
        "MPLCONFIGDIR": str(scratch / "matplotlib"),
        "TORCH_HOME": str(scratch / "torch"),
        "XDG_CACHE_HOME": str(scratch),
    }
    return {**planned, **environment}


def explain(status: int, before: resources.Memory, after: resources.Memory) -> failure.Failure:
    """What a wait status means; `status` is a Popen return code, negative for a signal."""
    if status >= 0:
        return failure.InternalError(f"the program ended with exit code {status} and no reason")
    name = signal.Signals(-status).name
    peak = f"{after.peak / GIB:.1f}" if after.peak else "unknown"
    limit = f"{after.limit / GIB:.1f}" if after.limit else "unlimited"
    if -status == signal.SIGKILL and after.kills > before.kills:
        return failure.HostMemoryError(f"killed by the kernel: peak {peak} of {limit} GiB")
    if -status == signal.SIGKILL:
        return failure.HostMemoryError(
            f"killed with SIGKILL from outside (memory peak {peak} of {limit} GiB): "
            "most often the machine was out of memory"
        )
    if -status == signal.SIGBUS:
        return failure.SharedMemoryError("the program died with SIGBUS: no room in /dev/shm")
    if -status in (signal.SIGTERM, signal.SIGINT):
        return failure.InterruptedFailure(f"stopped by {name} before there was anything to keep")
    return failure.InternalError(f"the program died with {name}")


class Stop:
    """The platform's SIGTERM, passed on to the child; also one that comes before the child does."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.child: subprocess.Popen[bytes] | None = None
        self.asked = False
        self.timer = threading.Timer(GRACE_SECONDS, self.give_up)
        self.timer.daemon = True
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self.ask)

    def ask(self, signum: int, frame: FrameType | None) -> None:
        if not self.asked:
            self.asked = True
            self.timer.start()
        self.forward()

    def forward(self) -> None:
        if self.asked and self.child is not None:
            # not send_signal, which would take the status that _wait waits for
            with suppress(ProcessLookupError):
                os.kill(self.child.pid, signal.SIGTERM)

    def give_up(self) -> None:
        """Soon the platform kills everything: the reason must be on disk by then."""
        late = failure.InterruptedFailure(f"did not end within {GRACE_SECONDS} s of SIGTERM")
        failure.write(self.output, failure.reason(late))


def run(command: list[str], output: Path) -> int:
    """Runs `command` to its end; returns the exit code for the platform: 0, or 1 with a reason."""
    stop = Stop(output)
    _forget(output)  # of an earlier run in the same folder
    before = resources.memory()
    words = Output()
    child = subprocess.Popen(
        command, env=child_environment(dict(os.environ)), start_new_session=True,
        stdout=words.stdout, stderr=words.stderr,
    )  # fmt: skip
    words.started()
    stop.child = child
    stop.forward()
    status = _wait(child.pid)
    stop.timer.cancel()
    _kill_group(child.pid)
    heard = words.finish(FLUSH_SECONDS)
    if status == 0:
        _forget(output)  # late, but done after all
        return 0
    died = explain(status, before, resources.memory())
    failure.write(output, failure.reason(died))
    if heard:  # else the words would wait, and this program with them
        _last_words(output, failure.reason(died))
    return 1


def _forget(output: Path) -> None:
    if output.is_dir():
        (output / "failure").unlink(missing_ok=True)


def _wait(pid: int) -> int:
    """The return code of `pid`; every other child that ends meanwhile is an orphan, and reaped."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            return os.waitstatus_to_exitcode(status)


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # nothing left, or (macOS) only zombies
        return


def _last_words(output: Path, fallback: str) -> None:
    """Wrappers show only the tail of a log: the reason is the last thing in it."""
    try:
        text = (output / "failure").read_text(encoding="utf-8") or fallback
    except OSError:
        text = fallback
    print(f"job failed: {text.splitlines()[0]}", file=sys.stderr, flush=True)


def give_back(paths: opt_ml.Paths) -> None:
    """As root, hands what was written to the mounted folder's owner, who may delete it then."""
    if os.getuid() != 0:
        return
    for folder in (paths.model, paths.output, paths.checkpoints):
        try:
            owner = folder.stat()
        except OSError:
            continue
        if owner.st_uid == 0:
            continue
        for path in [*folder.rglob("*")]:
            try:
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
            except OSError as error:
                print(f"cannot give {path} back: {error}", file=sys.stderr)


def run_together(command: list[str], cluster: Cluster, processes: int, paths: opt_ml.Paths) -> int:
    """Runs `command` once per process on every host; returns the same exit code on all of them."""
    stop = Stop(paths.output)
    _forget(paths.output)
    before, links, started = resources.memory(), Links(), Ranks()
    with tempfile.TemporaryDirectory(prefix="reasons-") as reasons:

        def words(rank: Rank) -> str:
            """Its own words, else what its death means."""
            with suppress(OSError):
                return (rank.reason / "failure").read_text(encoding="utf-8")
            assert rank.status is not None
            return failure.reason(explain(rank.status, before, resources.memory()))

        try:
            meeting = rendezvous.Meeting.of(cluster, processes, lambda: stop.asked, _say)
            start = rendezvous.meet(meeting, links)
        except failure.Failure as failed:
            failure.write(paths.output, failure.reason(failed))
            _last_words(paths.output, failure.reason(failed))
            links.close(watch.FAREWELL_SECONDS)
            return 1
        _say(f"cluster: {start.world} processes on {len(cluster.hosts)} hosts")
        planned = ranks.environments(cluster, start, Path(reasons))
        started.start(command, [child_environment({**os.environ, **own}) for own in planned])
        watching = Watch(cluster, links, started, lambda: stop.asked, words)
        reason = watching.run()
        stop.timer.cancel()
        started.kill()
        heard = started.words.finish(FLUSH_SECONDS)
        if reason is not None:
            text = watch.written(reason, cluster.current, paths.output)
            if heard:
                _last_words(paths.output, text)
        else:
            _forget(paths.output)
            give_back(paths)  # first: local mode stops the leader when another host ends
        watching.farewell()
        return 0 if reason is None else 1


def _say(line: str) -> None:
    print(line, flush=True)


def train(command: list[str], paths: opt_ml.Paths) -> int:
    """Alone or together, as `resourceconfig.json` and the GPUs of this machine want it."""
    processes = resources.gpu_count() or 1
    try:
        hosts = cluster.parse(opt_ml.resource_config(paths))
    except failure.Failure as failed:
        _forget(paths.output)
        failure.write(paths.output, failure.reason(failed))
        _last_words(paths.output, failure.reason(failed))
        return 1
    if len(hosts.hosts) == 1 and processes == 1:
        return run(command, paths.output)
    try:
        return run_together(command, hosts, processes, paths)
    except Exception as error:  # ours to survive: the other hosts see that this one is gone
        traceback.print_exc()
        failure.write(paths.output, failure.reason(failure.classify(error), error))
        return 1


def main(program: str) -> int:
    paths = opt_ml.Paths(opt_ml.base())
    if program == "train" and script_mode.asked(paths.config, dict(os.environ)):
        program = "container.script_mode"
    command = [sys.executable, "-P", "-m", program]
    try:
        return train(command, paths) if program == "train" else run(command, paths.output)
    finally:
        give_back(paths)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
