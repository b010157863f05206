"""Bayesian search against random search at equal trials, on a recorded problem.

    python -m benchmarks.samplers [--recorded FILE] [--seeds 100] [--trials 30] [--out FILE.json]
    python -m benchmarks.samplers --record FILE.csv

The problem is a grid of real training jobs: learning rate, weight decay and batch size of a small
network on made-up photos, and the accuracy that each reached. `--record` runs them, by `tune`
itself. Between the grid's points the accuracy is interpolated, in the logarithm of both numbers.
"""

import argparse
import csv
import json
import shutil
import statistics
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from benchmarks import result, setting, training
from local_test import photos
from tune import sampling
from tune.reader import parse
from tune.spec import Specification

RECORDED = Path(__file__).with_name("recorded_search.csv")
OBJECTIVE = "validation_top1_accuracy"
NUMBERS = {
    "learning_rate": ("0.0001", "0.0003", "0.001", "0.003", "0.01", "0.03", "0.1", "0.3"),
    "weight_decay": ("0.0001", "0.01", "1"),
}
BATCHES = ("8", "16", "32", "64")
FIXED = {
    "network": "small_cnn", "pretrained": "false", "fine_tune": "all", "image_size": "32",
    "augmentation": "none", "epochs": "3", "optimizer": "adamw", "num_workers": "0",
}  # fmt: skip
PER_CLASS = 60
STRATEGIES = ("Random", "Bayesian")


@dataclass(frozen=True)
class Problem:
    """Accuracy over log10 of both numbers, by batch size."""

    axes: tuple[NDArray[np.float64], ...]
    values: dict[str, NDArray[np.float64]]

    @property
    def best(self) -> float:
        return max(float(each.max()) for each in self.values.values())

    def accuracy(self, values: dict[str, str]) -> float:
        table: Any = self.values[values["batch_size"]]
        for name, axis in zip(NUMBERS, self.axes, strict=True):
            at = np.log10(float(values[name]))
            high = int(np.clip(np.searchsorted(axis, at), 1, len(axis) - 1))
            share = (at - axis[high - 1]) / (axis[high] - axis[high - 1])
            table = (1 - share) * table[high - 1] + share * table[high]
        return float(table)


def main() -> None:
    options = parse_options()
    if options.record:
        record(options.record)
        return
    problem = read(options.recorded)
    found = {strategy: searches(problem, strategy, options) for strategy in STRATEGIES}
    marks = [count for count in (10, 20, 30, 50) if count <= options.trials]
    whole = {
        "benchmark": "samplers",
        "setting": setting.describe("samplers") | {"seeds": options.seeds},
        "best_recorded": problem.best,
        "best_found": {
            strategy: {
                str(count): statistics.median(each[count - 1] for each in runs) for count in marks
            }
            for strategy, runs in found.items()
        },
        "trials_to_99_percent": {
            strategy: statistics.median(_reached(each, 0.99 * problem.best) for each in runs)
            for strategy, runs in found.items()
        },
    }
    result.give(whole, rows(whole), options.out)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--recorded", type=Path, default=RECORDED, help=f"default {RECORDED.name}")
    parser.add_argument("--record", type=Path, metavar="FILE.csv", help="run the jobs, keep these")
    parser.add_argument("--seeds", type=int, default=100, help="searches of each kind; default 100")
    parser.add_argument("--trials", type=int, default=30, help="of each search; default 30")
    result.add_options(parser)
    return parser.parse_args()


def record(path: Path) -> None:
    """A grid search by the image's own entry point; its table is the recording."""
    with tempfile.TemporaryDirectory(prefix="record-") as scratch:
        base = Path(scratch)
        photos.make(base / "photos", PER_CLASS)
        config = base / "input" / "config"
        config.mkdir(parents=True)
        (base / "input" / "data").mkdir()
        (base / "input" / "data" / "training").symlink_to(base / "photos")
        request = _request("Grid", [*NUMBERS.items(), ("batch_size", BATCHES)])
        (config / "tuning.json").write_text(json.dumps(request))
        training.run(["container.entrypoint", "tune"], {"SAGEMAKER_BASE_DIR": str(base)})
        shutil.copyfile(base / "output" / "tuning" / "trials.csv", path)


def _request(
    strategy: str, categories: list[tuple[str, tuple[str, ...]]], trials: int = 0, seed: int = 0
) -> dict[str, Any]:
    ranges: dict[str, Any] = {
        "CategoricalParameterRanges": [
            {"Name": name, "Values": list(values)} for name, values in categories
        ]
    }
    if strategy != "Grid":
        ranges["ContinuousParameterRanges"] = [
            {"Name": name, "MinValue": values[0], "MaxValue": values[-1],
             "ScalingType": "Logarithmic"}
            for name, values in NUMBERS.items()
        ]  # fmt: skip
    limits = {"MaxNumberOfTrainingJobs": trials} if trials else {}
    return {
        "HyperParameterTuningJobConfig": {
            "Strategy": strategy,
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": OBJECTIVE},
            "ResourceLimits": {**limits, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": ranges,
            "RandomSeed": seed,
        },
        "TrainingJobDefinition": {"StaticHyperParameters": FIXED},
    }


def read(path: Path) -> Problem:
    """A trial that diverged counts as one that guesses."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    axes = tuple(np.log10([float(one) for one in values]) for values in NUMBERS.values())
    shape = tuple(len(axis) for axis in axes)
    values = {batch: np.full(shape, np.nan) for batch in BATCHES}
    for line in lines:
        place = tuple(NUMBERS[name].index(line[name]) for name in NUMBERS)
        values[line["batch_size"]][place] = float(line[OBJECTIVE] or 0.25)
    missing = sum(int(np.isnan(each).sum()) for each in values.values())
    if missing:
        raise SystemExit(f"{path}: {missing} points of the grid are missing; record it anew")
    return Problem(axes, values)


def searches(problem: Problem, strategy: str, options: argparse.Namespace) -> list[list[float]]:
    """Of every seed, the best accuracy after each trial."""
    return [
        search(problem, parse(json.dumps(
            _request(strategy, [("batch_size", BATCHES)], options.trials, seed))))
        for seed in range(options.seeds)
    ]  # fmt: skip


def search(problem: Problem, spec: Specification) -> list[float]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=sampling.sampler(spec, 0))
    best: list[float] = []
    for _ in range(spec.max_trials):
        trial = study.ask()
        value = problem.accuracy(sampling.suggest(trial, spec))
        study.tell(trial, value)
        best.append(max([value, *best[-1:]]))
    assert all(one <= two for one, two in pairwise(best))
    return best


def _reached(best: list[float], goal: float) -> int:
    """Trials until the goal; one more than there were where it was not reached."""
    return next((at for at, value in enumerate(best, 1) if value >= goal), len(best) + 1)


def rows(whole: dict[str, Any]) -> list[list[str]]:
    found, needed = whole["best_found"], whole["trials_to_99_percent"]
    lines = [["", *STRATEGIES]]
    for count in found[STRATEGIES[0]]:
        lines.append([f"best accuracy after {count} trials (median)",
                      *(f"{found[each][count]:.4f}" for each in STRATEGIES)])  # fmt: skip
    lines.append(["trials to 99 % of the best recorded (median)",
                  *(f"{needed[each]:.0f}" for each in STRATEGIES)])  # fmt: skip
    lines.append(["best recorded", *[f"{whole['best_recorded']:.4f}"] * 2])
    return lines


if __name__ == "__main__":
    main()
