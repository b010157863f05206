"""A search over a new head beside as many plain runs, in one run; and what Bayesian search gains.

    python -m benchmarks.tuning [--photos FOLDER] [--epochs 2 4] [--out FILE]

The search is the grid that published projects run: two learning rates, two batch sizes, two numbers
of epochs. A plain run of each combination costs its start and its epochs, which are all alike: the
start and two epochs are timed, the rest is computed, and the table says which is which.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import result, setting, training
from benchmarks.training import HEAD, Place, say

LEARNING_RATES, BATCH_SIZES = ("0.001", "0.01"), ("32", "64")


def main() -> None:
    options = parse()
    described = setting.describe("tuning")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        place = training.prepare(options, Path(scratch))
        peer = training.plain(place, options.epochs)
        ours = search(place, options.epochs, options.learning_rates)
        described |= training.conditions(place, options)
    combinations = len(options.learning_rates) * len(BATCH_SIZES)  # of each number of epochs
    alone = combinations * sum(peer["computed"].values())
    whole = {
        "benchmark": "tuning",
        "setting": described,
        "plain": {**peer, "all_seconds": round(alone, 3)},
        "search": ours,
        "ratio": round(alone / ours["seconds"], 2),
    }
    result.give(whole, rows(whole), options.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    training.add_options(parser)
    parser.add_argument("--epochs", type=int, nargs=2, default=[2, 4], help="default 2 4")
    parser.add_argument(
        "--learning-rates", nargs="+", default=LEARNING_RATES, help="default 0.001 0.01"
    )
    result.add_options(parser)
    options: argparse.Namespace = parser.parse_args()
    if min(options.epochs) < training.LEAST_EPOCHS:
        parser.error(f"--epochs must be at least {training.LEAST_EPOCHS}: so many are measured")
    if options.epochs[0] == options.epochs[1]:
        parser.error("--epochs must be two numbers")
    return options


def search(place: Place, epochs: list[int], learning_rates: Sequence[str]) -> dict[str, Any]:
    """By the image's own entry point, from nothing to the best model."""
    base = training.tree(place, "search")
    ranges = {
        "learning_rate": learning_rates, "batch_size": BATCH_SIZES,
        "epochs": tuple(map(str, epochs)),
    }  # fmt: skip
    fixed = {name: value for name, value in HEAD.items() if name not in ranges}
    fixed |= {"network": place.network, "image_size": str(place.image_size)}
    request = {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Grid",
            "HyperParameterTuningJobObjective": {
                "Type": "Maximize", "MetricName": "validation_top1_accuracy",
            },
            "ResourceLimits": {"MaxParallelTrainingJobs": 8},
            "ParameterRanges": {
                "CategoricalParameterRanges": [
                    {"Name": name, "Values": list(values)} for name, values in ranges.items()
                ]
            },
        },
        "TrainingJobDefinition": {"StaticHyperParameters": fixed},
    }  # fmt: skip
    (base / "input" / "config" / "tuning.json").write_text(json.dumps(request))
    seen = training.run(["container.entrypoint", "tune"], {"SAGEMAKER_BASE_DIR": str(base)})
    ended = [second for second, line in seen.lines if ": complete " in line]
    best = next(line for _, line in seen.lines if line.startswith("best: "))
    say(f"search: {seen.seconds:.1f} s, {best}")
    return {
        "seconds": round(seen.seconds, 3),
        "trials": len(ended),
        "first_trial_seconds": round(ended[0], 3),
        "other_trials_seconds": round(ended[-1] - ended[0], 3),
        "best": best.removeprefix("best: "),
    }


def rows(whole: dict[str, Any]) -> list[list[str]]:
    peer, ours = whole["plain"], whole["search"]
    measured = peer["measured"]
    epochs = " + ".join(f"{each:.1f}" for each in measured["epoch_seconds"])
    lines = [["", "plain", "ours", "times quicker"]]
    lines.append(["measured: start, s", f"{measured['start_seconds']:.1f}", "", ""])
    lines.append([f"measured: {len(measured['epoch_seconds'])} epochs, s", epochs, "", ""])
    lines.append(["first trial done, s", "", f"{ours['first_trial_seconds']:.1f}", ""])
    lines.append([f"the other {ours['trials'] - 1} done in, s", "",
                  f"{ours['other_trials_seconds']:.1f}", ""])  # fmt: skip
    lines.append([f"{ours['trials']} combinations, s (plain computed)",
                  f"{peer['all_seconds']:.1f}", f"{ours['seconds']:.1f}",
                  f"{whole['ratio']:.2f}"])  # fmt: skip
    return lines


if __name__ == "__main__":
    main()
