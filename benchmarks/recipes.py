"""What each part of a recipe gives, on real photos: accuracy after short training, by real jobs.

    python -m benchmarks.recipes ARCHIVE [--epochs 6] [--scratch-epochs 16] [--parts LIST]

ARCHIVE holds `train` and `test`, each with a folder of small photos per class, like the ten classes
of CIFAR-10. The test photos are only ever looked at by a job's final evaluation.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import result, setting

BASE = {
    "network": "small_cnn",
    "pretrained": "false",
    "fine_tune": "all",
    "image_size": "32",
    "batch_size": "128",
    "learning_rate": "0.004",
}
"""32 pixels are all there are; a batch that keeps two cores busy; a rate from the range test."""

RECIPES: dict[str, dict[str, str]] = {
    "as declared": {},
    "no average": {"ema_decay": "0"},
    "no augmentation": {"augmentation": "none"},
    "crop": {"augmentation": "crop"},
    "strong": {"augmentation": "strong"},
    "random erasing 0.25": {"random_erasing": "0.25"},
    "label smoothing 0.1": {"label_smoothing": "0.1"},
    "mixup 0.2": {"mixup": "0.2"},
    "cutmix 1": {"cutmix": "1"},
    "test-time flip": {"test_time_flip": "true"},
    "constant rate": {"schedule": "constant"},
    "sgd 0.1": {"optimizer": "sgd", "learning_rate": "0.1", "weight_decay": "0.0005"},
    "rate by auto": {"learning_rate": "auto"},
}
TRANSFER_FRACTION = 0.05
"""Of the train photos of the second half of the classes: where transfer is for, photos are few."""
THINNED = 10
"""Of the first half of the classes one train photo in so many is left; the test photos all are."""
SKEWED = {
    "as declared": {},
    "class weighting balanced": {"class_weighting": "balanced"},
}
PARTS = ("ablation", "skew", "scratch", "transfer")
GOAL, GOAL_SECONDS = 0.70, 1200


def main() -> None:
    options = parse()
    described = setting.describe("recipes")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        photos = unpack(options.archive, Path(scratch) / "photos")
        described |= {"photos": count(photos), "job": BASE, "epochs": options.epochs}
        bench = Bench(Path(scratch), photos, options.epochs)
        whole: dict[str, Any] = {"benchmark": "recipes", "setting": described}
        if "ablation" in options.parts:
            whole["ablation"] = {
                name: bench.job(f"ablation: {name}", RECIPES[name]) for name in options.recipes
            }
        if "skew" in options.parts:
            rare = bench.labels[: len(bench.labels) // 2]
            whole["skew"] = {
                name: bench.job(f"skewed classes: {name}", changed, thinned=rare)
                for name, changed in SKEWED.items()
            }
        if "scratch" in options.parts:
            seen = bench.job("from scratch", {"epochs": str(options.scratch_epochs)})
            reached = seen["test_top1_accuracy"] >= GOAL and seen["seconds"] <= GOAL_SECONDS
            whole["scratch"] = {**seen, "epochs": options.scratch_epochs, "reached": reached}
        if "transfer" in options.parts:
            whole["transfer"] = transfer(bench)
    result.give(whole, rows(whole), options.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("archive", type=Path, help="a .tar or .tar.gz of train/ and test/")
    parser.add_argument("--epochs", type=int, default=6, help="of each job; default 6")
    parser.add_argument("--scratch-epochs", type=int, default=16, help="default 16")
    parser.add_argument("--parts", type=_words(PARTS), default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument(
        "--recipes", type=_words(tuple(RECIPES)), default=list(RECIPES), help="; ".join(RECIPES)
    )
    result.add_options(parser)
    options: argparse.Namespace = parser.parse_args()
    if not options.archive.is_file():
        parser.error(f"{options.archive}: no such file")
    return options


def _words(known: tuple[str, ...]) -> Any:
    def read(text: str) -> list[str]:
        words = [word.strip() for word in text.split(",")]
        if set(words) - set(known):
            raise argparse.ArgumentTypeError(f"{text!r}: expected some of {', '.join(known)}")
        return words

    return read


def unpack(archive: Path, folder: Path) -> Path:
    """The folder that holds `train` and `test`. Nothing of the archive lands outside `folder`."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    for train in sorted(folder.glob("**/train")):
        if (train.parent / "test").is_dir():
            return train.parent
    raise ValueError(f"{archive} holds no train/ with a test/ beside it")


def count(photos: Path) -> dict[str, int]:
    return {split: sum(1 for _ in (photos / split).glob("*/*")) for split in ("train", "test")}


class Bench:
    """Jobs over the photos, each by the image's own entry point, in a folder tree of its own."""

    def __init__(self, scratch: Path, photos: Path, epochs: int) -> None:
        self.scratch, self.photos, self.epochs = scratch, photos, epochs
        self.labels = sorted(path.name for path in (photos / "train").iterdir())
        self.models: dict[str, Path] = {}
        self._numbers = itertools.count()

    def job(
        self,
        title: str,
        changed: dict[str, str],
        labels: list[str] | None = None,
        pretrained: Path | None = None,
        thinned: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Accuracy on the test photos of `labels`, seconds, and images/s of the last epoch."""
        base = self.scratch / f"job-{next(self._numbers)}"
        self._channels(base, labels or self.labels, pretrained, thinned)
        hyperparameters = {**BASE, "epochs": str(self.epochs), **changed}
        config = base / "input" / "config"
        config.mkdir(parents=True)
        (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
        seconds = _run(title, base)
        described = json.loads((base / "model" / "model.json").read_text())
        seen = {
            "test_top1_accuracy": round(described["metrics"]["test"]["top1_accuracy"], 4),
            "test_loss": round(described["metrics"]["test"]["loss"], 4),
            "seconds": round(seconds, 1),
            "images_per_second": round(_speed(base), 1),
            "learning_rate": described["hyperparameters"]["learning_rate"],
        }
        self.models[title] = base / "model"
        say(f"{title}: {seen['test_top1_accuracy']:.4f} after {seconds:.0f} s")
        return seen

    def _channels(
        self, base: Path, labels: list[str], pretrained: Path | None, thinned: Sequence[str]
    ) -> None:
        for split in ("train", "test"):
            folder = base / "input" / "data" / split
            folder.mkdir(parents=True)
            for label in labels:
                photos = self.photos / split / label
                if split == "train" and label in thinned:
                    (folder / label).mkdir()
                    for path in sorted(photos.iterdir())[::THINNED]:
                        (folder / label / path.name).symlink_to(path)
                else:
                    (folder / label).symlink_to(photos, target_is_directory=True)
        if pretrained is not None:
            (base / "input" / "data" / "pretrained").symlink_to(pretrained)


def _run(title: str, base: Path) -> float:
    """Seconds of the whole job."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "container.entrypoint", "train"],
        cwd=setting.PROJECT,
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{title}: the job failed: {done.stderr.strip()[-2000:]}")
    return time.monotonic() - started


def _speed(base: Path) -> float:
    lines = (base / "output" / "data" / "metrics.jsonl").read_text().splitlines()
    speed: float = json.loads(lines[-1])["images_per_second"]
    return speed


def transfer(bench: Bench) -> dict[str, Any]:
    """The second half of the classes from a few photos: from nothing, and from a network that has
    learned the first half, with its head alone or all of it."""
    half = len(bench.labels) // 2
    title = "first half of the classes"
    before = bench.job(title, {}, bench.labels[:half])
    second, weights = bench.labels[half:], bench.models[title]
    few = {"train_fraction": str(TRANSFER_FRACTION), "batch_size": "32"}
    own = {**few, "pretrained": "true"}
    head = {**own, "fine_tune": "head"}
    return {
        "first half": before,
        "from scratch": bench.job("second half, from scratch", few, second),
        "head alone": bench.job("second half, head alone", head, second, weights),
        "all": bench.job("second half, all weights", own, second, weights),
    }


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def rows(whole: dict[str, Any]) -> list[list[str]]:
    lines = [["", "test accuracy", "test loss", "seconds", "images/s"]]
    named = dict(whole.get("ablation", {}))
    named |= {f"skewed classes: {name}": seen for name, seen in whole.get("skew", {}).items()}
    if "scratch" in whole:
        named[f"from scratch, {whole['scratch']['epochs']} epochs"] = whole["scratch"]
    named |= {f"transfer: {name}": seen for name, seen in whole.get("transfer", {}).items()}
    for name, seen in named.items():
        figures = [f"{seen['test_top1_accuracy']:.4f}", f"{seen['test_loss']:.4f}"]
        lines.append([name, *figures, f"{seen['seconds']:.0f}", f"{seen['images_per_second']:.0f}"])
    return lines


if __name__ == "__main__":
    main()
