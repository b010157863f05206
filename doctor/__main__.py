"""Checks the image and the machine against what the platform asks of both; no account is needed.

    docker run IMAGE doctor

Prints a line per finding, and ends with 1 where there is a problem. Mount what a job would have at
/opt/ml to have that looked at, too.
"""

import sys
from collections.abc import Iterator

from container import opt_ml
from container.opt_ml import Paths
from doctor import gpu, image, machine, offline, rehearsal
from doctor.check import Finding


def findings(paths: Paths) -> Iterator[Finding]:
    """What is quick comes first."""
    yield from image.programs()
    yield from image.architecture()
    yield from machine.processors()
    yield from machine.memory()
    yield from machine.shared_memory()
    yield from machine.disk(paths)
    yield from machine.folders(paths)
    yield from gpu.gpus()
    yield from offline.weights()
    yield from rehearsal.rehearse()


def main() -> int:
    counts = {"ok": 0, "warning": 0, "problem": 0}
    for finding in findings(Paths(opt_ml.base())):
        counts[finding.state] += 1
        print(finding, flush=True)
    print(f"doctor: {counts['problem']} problems, {counts['warning']} warnings")
    return 1 if counts["problem"] else 0


if __name__ == "__main__":
    sys.exit(main())
