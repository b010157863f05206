"""Our training beside a plain script, in one run: a new head, a sweep of trials, full fine-tuning.

    python -m benchmarks.training [--photos FOLDER] [--epochs 3 10] [--trials 8] [--out FILE]

Both sides start from one file of weights and see the same photos. The plain script's epochs are all
alike: the fewest of --epochs are run and timed, the rest is computed, and the table says which is
which. After as many, its accuracy stands beside ours over several seeds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from artifact import network as networks
from artifact.preprocess import Preprocessing
from benchmarks import crops, model, result, setting, startup
from local_test import photos as made_photos
from train.batches import Loader, Photos, Plan
from train.features.places import WARM_POOL
from train.index import Index

PROJECT = Path(__file__).resolve().parents[1]
HIDDEN = 256
RATES = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2)
"""Learning rates of the sweep's trials."""
HEAD = {
    "fine_tune": "head",
    "hidden_units": f"[{HIDDEN}]",
    "optimizer": "adam",
    "learning_rate": "0.001",
    "weight_decay": "0",
    "schedule": "constant",
    "warmup_epochs": "0",
    "batch_size": "32",
    "augmentation": "none",
}
"""What the plain script does, so that the accuracies can be compared."""

CALIBRATION = 32
"""Photos that set the statistics of random weights: without it features grow without bound."""

LEAST_EPOCHS = 2
"""Of the plain script: the first one is no measure of the others."""


@dataclass(frozen=True)
class Run:
    """A process: each line it said with its second, and all of its seconds."""

    lines: list[tuple[float, str]]
    seconds: float


@dataclass(frozen=True)
class Place:
    """What both sides are given."""

    scratch: Path
    photos: Path
    weights: Path
    network: str
    image_size: int


def main() -> None:
    options = parse()
    described = setting.describe("training")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        place = prepare(options, Path(scratch))
        first_step = startup.train(options.starts)
        peer = plain(place, options.epochs)
        ours = {str(epochs): job(place, f"head-{epochs}", epochs) for epochs in options.epochs}
        swept = sweep(place, max(options.epochs), options.trials)
        seeded = seeds(place, min(options.epochs), options.seeds)
        updates = steps(place, options.updates)
        described |= conditions(place, options)
    whole = {
        "benchmark": "training",
        "setting": described,
        "first_step_seconds": first_step["first_step_seconds"],
        "plain": peer,
        "ours": ours,
        "sweep": swept,
        "seeds": seeded,
        "full_fine_tuning": updates,
        "ratio": ratio(peer, ours, swept, seeded, updates, options.trials),
    }
    result.give(whole, rows(whole), options.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add_options(parser)
    parser.add_argument("--epochs", type=int, nargs="+", default=[3, 10], help="default 3 10")
    parser.add_argument("--trials", type=int, default=8, help="of the sweep; default 8")
    parser.add_argument("--seeds", type=int, default=5, help="of our accuracy; default 5")
    parser.add_argument("--updates", type=int, default=4, help="of full fine-tuning; default 4")
    parser.add_argument("--starts", type=int, default=3, help="of a tiny job; default 3")
    result.add_options(parser)
    options: argparse.Namespace = parser.parse_args()
    if min(options.epochs) < LEAST_EPOCHS:
        parser.error(f"--epochs must be at least {LEAST_EPOCHS}: the plain script's are measured")
    if options.seeds < 2:
        parser.error("--seeds must be at least 2: their spread is asked for")
    if min(options.crops, options.per_class, options.updates, options.starts) < 1:
        parser.error("--crops, --per-class, --updates and --starts must be above 0")
    if not 1 <= options.trials <= len(RATES):
        parser.error(f"--trials must be from 1 to {len(RATES)}")
    return options


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `prepare` makes a Place of."""
    model.add_options(parser)
    parser.add_argument("--photos", type=Path, help="a folder with train/ and val/; else made up")
    parser.add_argument("--crops", type=int, default=4, help="of each photo; default 4")
    parser.add_argument("--per-class", type=int, default=120, help="of photos that are made up")
    parser.add_argument("--weights", type=Path, help="a .safetensors; else random weights")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def prepare(options: argparse.Namespace, scratch: Path) -> Place:
    source = options.photos
    if source is None:
        source = scratch / "made"
        made_photos.make(source, options.per_class)
    count = crops.make(source, scratch / "photos", options.crops)
    say(f"{count} photos")
    weights = options.weights or scratch / "weights.safetensors"
    place = Place(scratch, scratch / "photos", weights, options.network, options.image_size)
    if options.weights is None:
        random_weights(place)
    return place


@torch.no_grad()
def random_weights(place: Place) -> None:
    """With statistics of real photos, so that features have a trained network's size."""
    torch.manual_seed(0)
    made = networks.build(place.network, 2, (), place.image_size)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean of what is seen
    names = sorted(place.photos.glob("train/*/*"))[:: max(1, _count(place) // CALIBRATION)]
    index = Index.of("train", place.photos, ((str(p.relative_to(place.photos)), 0) for p in names))
    seen = Photos(index, Preprocessing.for_size(place.image_size), "none", 0)
    loader = Loader(seen, CALIBRATION, CALIBRATION, Plan(0, 2), pin=False, stay=False)
    made.train()(loader.prepare(next(loader.in_order()).inputs))
    save_file(made.state_dict(), place.weights)


def _count(place: Place) -> int:
    return sum(1 for _ in place.photos.glob("train/*/*"))


def plain(place: Place, epochs: list[int]) -> dict[str, Any]:
    """Measured: start and the fewest epochs. Computed: the others, each like the last one."""
    measured = min(epochs)
    seen = run(
        [
            *("benchmarks.peers.plain_script", str(place.photos), str(place.weights)),
            *("--out", str(place.scratch / "plain.pt"), "--network", place.network),
            *("--image-size", str(place.image_size), "--hidden", str(HIDDEN)),
            *("--epochs", str(measured)),
        ],
        {},
    )
    said = [(second, json.loads(line)) for second, line in seen.lines if line.startswith("{")]
    ready, *done = [second for second, each in said if "ready" in each or "epoch" in each]
    lasted = [after - before for before, after in zip([ready, *done], done, strict=False)]
    say(f"plain: start {ready:.1f} s, epochs {', '.join(f'{each:.1f} s' for each in lasted)}")
    return {
        "measured": {
            "start_seconds": round(ready, 3),
            "epoch_seconds": [round(each, 3) for each in lasted],
            "seconds": round(seen.seconds, 3),
            "accuracy": [each["accuracy"] for _, each in said if "epoch" in each],
        },
        "computed": {
            str(count): round(seen.seconds + (count - measured) * lasted[-1], 3) for count in epochs
        },
    }


def job(
    place: Place, name: str, epochs: int, pool: Path | None = None, **others: str
) -> dict[str, Any]:
    """A whole job by the image's own entry point, from nothing to the artifact."""
    base = tree(place, name)
    chosen = {**HEAD, "network": place.network, "image_size": str(place.image_size), **others}
    config = base / "input" / "config" / "hyperparameters.json"
    config.write_text(json.dumps({**chosen, "epochs": str(epochs)}))
    environment = {"SAGEMAKER_BASE_DIR": str(base)} | ({WARM_POOL: str(pool)} if pool else {})
    seen = run(["container.entrypoint", "train"], environment)
    features = next((at for at, line in seen.lines if line.startswith("features: ")), None)
    history = (base / "output" / "data" / "metrics.jsonl").read_text().splitlines()
    accuracy = [json.loads(line)["validation_top1_accuracy"] for line in history]
    say(f"{name}: {seen.seconds:.1f} s, accuracy {accuracy[-1]:.3f}")
    return {
        "seconds": round(seen.seconds, 3),
        "start_seconds": None if features is None else round(features, 3),
        "accuracy": accuracy,
        "features": [line for _, line in seen.lines if line.startswith("features: ")],
    }


def tree(place: Place, name: str) -> Path:
    base = place.scratch / name
    channels = base / "input" / "data"
    (channels / "pretrained").mkdir(parents=True)
    (base / "input" / "config").mkdir()
    (channels / "training").symlink_to(place.photos, target_is_directory=True)
    (channels / "pretrained" / "weights.safetensors").symlink_to(place.weights)
    return base


def sweep(place: Place, epochs: int, trials: int) -> dict[str, Any]:
    """Jobs one after the other that share a warm pool's folder, which is empty at first."""
    pool = place.scratch / "pool"
    done = [
        job(place, f"trial-{number}", epochs, pool, learning_rate=str(rate))
        for number, rate in enumerate(RATES[:trials])
    ]
    return {
        "epochs": epochs,
        "seconds": round(sum(each["seconds"] for each in done), 3),
        "trials": [each["seconds"] for each in done],
        "accuracy": [each["accuracy"][-1] for each in done],
    }


def seeds(place: Place, epochs: int, count: int) -> dict[str, Any]:
    """The accuracy of as many jobs, which take their features from the sweep's folder."""
    pool = place.scratch / "pool"
    found = [
        job(place, f"seed-{seed}", epochs, pool, seed=str(seed), compile_engine="false")
        for seed in range(count)
    ]
    accuracy = [each["accuracy"][-1] for each in found]
    return {
        "epochs": epochs,
        "accuracy": accuracy,
        "mean": round(statistics.mean(accuracy), 4),
        "deviation": round(statistics.stdev(accuracy), 4),
    }


def steps(place: Place, updates: int) -> dict[str, Any]:
    base = tree(place, "steps")
    size = ("--network", place.network, "--image-size", str(place.image_size))
    seen = run(["benchmarks.steps", str(base), *size, "--updates", str(updates)], {})
    figures: dict[str, Any] = json.loads(seen.lines[-1][1])
    return figures


def run(program: list[str], environment: dict[str, str]) -> Run:
    """Raises RuntimeError, with the last words, where it fails."""
    lines: list[tuple[float, str]] = []
    with tempfile.TemporaryFile("w+") as errors:
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", *program],
            env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            lines.append((time.monotonic() - started, line.rstrip("\n")))
        code = process.wait()
        seconds = time.monotonic() - started
        errors.seek(0)
        if code:
            raise RuntimeError(f"{program[0]} ended with {code}: {errors.read()[-1000:]}")
    return Run(lines, seconds)


def conditions(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    found = {"openvino": metadata.version("openvino")} if find_spec("openvino") else {}
    return {
        "network": place.network,
        "image_size": place.image_size,
        "weights": "random" if options.weights is None else options.weights.name,
        "photos": {split: len(list(place.photos.glob(f"{split}/*/*"))) for split in crops.SPLITS},
        "head": HEAD,
        "batch": 32,
        **found,
    }


def ratio(
    peer: dict[str, Any],
    ours: dict[str, dict[str, Any]],
    swept: dict[str, Any],
    seeded: dict[str, Any],
    updates: dict[str, Any],
    trials: int,
) -> dict[str, Any]:
    """How many times quicker ours is."""
    single = peer["computed"][str(swept["epochs"])]
    return {
        "epochs": {
            count: round(peer["computed"][count] / each["seconds"], 2)
            for count, each in ours.items()
        },
        "sweep": round(trials * single / swept["seconds"], 2),
        "full_step": round(updates["plain_step_seconds"] / updates["ours_step_seconds"], 2),
        "accuracy_difference": round(seeded["mean"] - peer["measured"]["accuracy"][-1], 4),
    }


def rows(whole: dict[str, Any]) -> list[list[str]]:
    peer, times = whole["plain"], whole["ratio"]
    measured, updates = peer["measured"], whole["full_fine_tuning"]
    epochs = " + ".join(f"{each:.1f}" for each in measured["epoch_seconds"])
    lines = [["", "plain", "ours", "times quicker"]]
    lines.append(["measured: start, s", f"{measured['start_seconds']:.1f}", "", ""])
    count = len(measured["epoch_seconds"])
    lines.append([f"measured: {count} epochs, s", epochs, "", ""])
    for name, each in whole["ours"].items():
        kind = "measured" if int(name) == count else "computed"
        lines.append([f"head, {name} epochs, s (plain {kind})", f"{peer['computed'][name]:.1f}",
                      f"{each['seconds']:.1f}", f"{times['epochs'][name]:.2f}"])  # fmt: skip
    swept, trials = whole["sweep"], len(whole["sweep"]["trials"])
    alone = peer["computed"][str(swept["epochs"])] * trials
    lines.append([f"{trials} trials of {swept['epochs']} epochs, s (plain computed)",
                  f"{alone:.1f}", f"{swept['seconds']:.1f}", f"{times['sweep']:.2f}"])  # fmt: skip
    lines.append([f"full fine-tuning, s per update ({updates['precision']})",
                  f"{updates['plain_step_seconds']:.2f}", f"{updates['ours_step_seconds']:.2f}",
                  f"{times['full_step']:.2f}"])  # fmt: skip
    share = f"{updates['data_wait_share']:.1%}"
    lines.append(["full fine-tuning, share of the wait for data", "", share, ""])
    start = f"{whole['first_step_seconds']:.2f}"
    lines.append(["tiny job, start to first step done, s", "", start, ""])
    seeded = whole["seeds"]
    lines.append([f"accuracy after {count} epochs (ours: {len(seeded['accuracy'])} seeds)",
                  f"{measured['accuracy'][-1]:.3f}",
                  f"{seeded['mean']:.3f} +- {seeded['deviation']:.3f}", ""])  # fmt: skip
    return lines


if __name__ == "__main__":
    main()
