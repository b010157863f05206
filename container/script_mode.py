"""A job's own entry script, which the platform's training toolkit runs: the image stands in for the
framework's container.

Which script it is says SAGEMAKER_PROGRAM, or the hyperparameter `sagemaker_program`; the toolkit
finds it, and gives it the job as arguments and SM_ variables. What it does not do is done here: a
stop reaches the script, too.
"""

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from types import FrameType

VARIABLES = ("SAGEMAKER_PROGRAM", "SAGEMAKER_TRAINING_MODULE")
KEYS = ("sagemaker_program", "sagemaker_training_module")


def asked(config: Path, environment: dict[str, str]) -> bool:
    """Whether the job names an entry of its own."""
    if any(environment.get(name) for name in VARIABLES):
        return True
    try:
        given = json.loads((config / "hyperparameters.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False  # told by whoever needs it
    return isinstance(given, dict) and any(given.get(key) for key in KEYS)


def _pass_on(signum: int, frame: FrameType | None) -> None:
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            for child in (task / "children").read_text().split():
                os.kill(int(child), signum)


def main() -> None:
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _pass_on)
    from sagemaker_training.cli import train  # after the handlers: it imports for a second

    train.main()


if __name__ == "__main__":
    main()
