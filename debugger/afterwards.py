"""The report at the end of a job: the program `diagnose` over what the job has left.

A process of its own, so that whatever it meets, the job has its model and ends well.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from debugger.beside import environment, root

SECONDS = 300.0
"""After which a report is given up: tensors of a big network on a slow disk."""
POLL_SECONDS = 0.5


def report(base: Path, out: Path, say: Callable[[str], None], stopped: Callable[[], bool]) -> None:
    """Of the job below `base`, into the folder `out`; its table goes to the log. Given up where
    `stopped` says that the job is to end."""
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "debugger", str(base), "--out", str(out)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            cwd=root(), env=environment(),
        )  # fmt: skip
    except OSError as error:
        say(f"debugger: no report: {error}")
        return
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            words, _ = process.communicate(timeout=POLL_SECONDS)
            break
        except subprocess.TimeoutExpired:
            late = time.monotonic() > deadline
            if late or stopped():
                process.kill()
                process.communicate()
                say(f"debugger: no report: {f'not done in {SECONDS:.0f} s' if late else 'stopped'}")
                return
    for line in words.splitlines():
        say(line)
