"""What the programs' starts are made of: imports of the server's two sides, a job's first step.

    python -m benchmarks.startup [--repeats 5] [--out FILE]

The HTTP side must answer /ping within moments, so it may not import torch; the engine does.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import result, setting
from local_test import photos

PROJECT = Path(__file__).resolve().parents[1]
MODULES = {"http": "serve.app", "engine": "serve.engine.torch"}
LINE = re.compile(r"import time:\s*(\d+) \|\s*(\d+) \|\s*(\S+)")
"""What -X importtime prints: microseconds of the module alone, and with what it imports."""
LARGEST = 6

PER_CLASS = 8
JOB = {
    "network": "small_cnn",
    "pretrained": "false",
    "fine_tune": "all",
    "image_size": "32",
    "batch_size": "8",
    "epochs": "1",
    "log_interval": "1",
}
"""So little work that the time is the start's."""
FIRST_STEP = re.compile(r"epoch 1/1: \d+ of \d+ images")


def main() -> None:
    options = parse()
    described = setting.describe("startup") | {
        "repeats": options.repeats,
        "network": JOB["network"],
        "image_size": int(JOB["image_size"]),
        "batch": int(JOB["batch_size"]),
        "photos_per_class": PER_CLASS,
        "job_repeats": options.jobs,
    }
    whole: dict[str, Any] = {"benchmark": "startup", "setting": described}
    for side, module in MODULES.items():
        whole[side] = imports(module, options.repeats)
    whole["train"] = train(options.jobs)
    result.give(whole, rows(whole), options.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="of each import; default 5")
    parser.add_argument("--jobs", type=int, default=3, help="training jobs; default 3")
    result.add_options(parser)
    options: argparse.Namespace = parser.parse_args()
    if min(options.repeats, options.jobs) < 1:
        parser.error("--repeats and --jobs must be above 0")
    return options


def imports(module: str, repeats: int) -> dict[str, Any]:
    """The median of fresh processes, after one that is not counted and warms the file cache."""
    _import(module)
    runs = sorted((_import(module) for _ in range(repeats)), key=lambda run: run[0])
    seconds, own, count = runs[len(runs) // 2]
    return {
        "module": module,
        "import_seconds": round(seconds, 4),
        "runs": [round(run[0], 4) for run in runs],
        "modules": count,
        "largest": {name: round(value, 4) for name, value in own.most_common(LARGEST)},
    }


def _import(module: str) -> tuple[float, Counter[str], int]:
    """Seconds in all, seconds of each top-level package's own modules, modules."""
    code = f"import {module}"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    )
    # up to `site` it is the interpreter's own start
    printed = done.stderr.rpartition("| site\n")[2]
    lines = [(int(alone), int(both), name) for alone, both, name in LINE.findall(printed)]
    total = next(both for _, both, name in lines if name == module)
    own: Counter[str] = Counter()
    for alone, _, name in lines:
        own[name.partition(".")[0]] += alone
    return total / 1e6, Counter({name: value / 1e6 for name, value in own.items()}), len(lines)


def train(repeats: int) -> dict[str, Any]:
    """Seconds since the start of the process: medians over the jobs."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        data = Path(scratch) / "photos"
        photos.make(data, PER_CLASS)
        runs = [_job(Path(scratch) / str(number), data) for number in range(repeats)]
    return {
        **{key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]},
        "runs": [round(run["first_step_seconds"], 3) for run in runs],
    }


def _job(base: Path, data: Path) -> dict[str, float]:
    """One whole job by the image's own entry point, its lines read as they come."""
    config = base / "input" / "config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps(JOB))
    channels = base / "input" / "data"
    channels.mkdir(parents=True)
    (channels / "training").symlink_to(data, target_is_directory=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(PROJECT),
        "SAGEMAKER_BASE_DIR": str(base),
    }
    seen: dict[str, float] = {}
    with (base / "log").open("wb") as log:
        start = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "container.entrypoint", "train"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            now = time.monotonic() - start
            seen.setdefault("first_line_seconds", now)
            if FIRST_STEP.match(line):
                seen.setdefault("first_step_seconds", now)
        code = process.wait()
    seen["job_seconds"] = time.monotonic() - start
    if code or "first_step_seconds" not in seen:
        said = (base / "log").read_text()[-1000:]
        raise RuntimeError(f"the job ended with {code} and steps {sorted(seen)}: {said}")
    return seen


def rows(whole: dict[str, Any]) -> list[list[str]]:
    lines = [["", "seconds"]]
    for side in MODULES:
        found = whole[side]
        lines.append([f"import {found['module']} ({found['modules']} modules)",
                      f"{found['import_seconds']:.3f}"])  # fmt: skip
        lines += [[f"  {name}", f"{value:.3f}"] for name, value in found["largest"].items()]
    titles = {
        "first_line_seconds": "train: start to first line of the log",
        "first_step_seconds": "train: start to first step done",
        "job_seconds": "train: whole tiny job",
    }
    lines += [[title, f"{whole['train'][key]:.3f}"] for key, title in titles.items()]
    return lines


if __name__ == "__main__":
    main()
