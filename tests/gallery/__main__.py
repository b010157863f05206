"""The command: the guide's table, or all runs with so many seeds."""

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

os.environ["SMDEBUG_LOG_LEVEL"] = "error"
warnings.simplefilter("ignore")

import torch  # noqa: E402

from debugger import evidence, tensors, walk  # noqa: E402
from debugger.rules.asked import Asked  # noqa: E402
from tests.gallery import runs  # noqa: E402
from tests.gallery.cases import CASES, HEALTHY, table  # noqa: E402


def judge(folder: Path, name: str, seed: int) -> list[dict]:
    """What every rule says of a healthy run; of others, the rules whose disease it has."""
    cases = [case for case in CASES if name in HEALTHY or case.run == name]
    asked = []
    for case in cases:
        given = dict(case.parameters)
        if case.rule == "similar_across_runs":
            other = {"healthy": "again", "fast": "frozen"}.get(name)
            given |= {"other_trials": str(folder / other)} if other else {}
        asked.append(Asked(case.rule, given))
    trial = tensors.Tensors(folder / name)
    verdicts = walk.run(trial, asked, evidence.Evidence())
    return [
        {
            "run": name, "seed": seed, "rule": each.rule, "status": each.status.value,
            "first": each.steps[0] if each.steps else None, "reason": each.reason,
            "details": {key: str(value) for key, value in each.details.items()},
        }
        for each in verdicts
    ]  # fmt: skip


def measure(seeds: int) -> Iterator[dict]:
    torch.set_num_threads(1)
    for seed in range(seeds):
        folder = Path(tempfile.mkdtemp(prefix="gallery-"))
        try:
            for name in runs.RUNS:
                with contextlib.redirect_stdout(sys.stderr):
                    runs.train(name, seed, folder / name)
            for name in runs.RUNS:
                if name != "again":
                    yield from judge(folder, name, seed)
        finally:
            shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.gallery", description=__doc__)
    parser.add_argument("--run", type=int, default=0, metavar="SEEDS")
    chosen = parser.parse_args()
    if not chosen.run:
        print(table())
        return
    for each in measure(chosen.run):
        print(json.dumps(each), flush=True)


if __name__ == "__main__":
    main()
