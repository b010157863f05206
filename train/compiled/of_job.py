"""Whether a job's network gets a compiled engine, and of what: the job's side of it."""

import importlib.util
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from container import resources
from train.answers import Answers
from train.compiled import maker, material
from train.compiled.order import Order
from train.compiled.worth import worth
from train.progress import say
from train.training import Training

TRIAL = "_tuning_objective_metric"
"""Among the hyperparameters of a search's trials, here and on the platform."""


def unwanted(run: Training) -> str:
    """Why this job, run to its end, makes no engine; nothing where it does."""
    if run.chosen.compile_engine == "false":
        return "compile_engine=false"
    missing = [name for name in ("openvino", "nncf") if importlib.util.find_spec(name) is None]
    if missing:
        return f"{' and '.join(missing)} not installed"
    if run.chosen.compile_engine == "true":
        return ""
    if TRIAL in run.job.hyperparameters:
        return "this is a search's trial; compile_engine=true makes one all the same"
    if not worth(run.chosen.network, run.chosen.image_size):
        return "the network is so small that it would win little; compile_engine=true makes one"
    return ""


def compiler(run: Training, answers: Answers) -> Callable[[Path], dict[str, Any]]:
    """What `export` calls with the staged artifact: `made` of the engine, or an empty dictionary. A
    defect in here costs the engine."""

    def compile_engine(folder: Path) -> dict[str, Any]:
        stopped = run.state.interrupted or run.should_stop()
        why = unwanted(run) or ("the job was interrupted" if stopped else "")
        if why:
            say(f"compiled engine: none, {why}")
            return {}
        try:
            with run.watchdog.watching("the compiled engine"):
                return _make(run, answers, folder)
        except Exception:
            say(f"warning: no compiled engine, torch will serve:\n{traceback.format_exc()}")
            return {}

    return compile_engine


def _make(run: Training, answers: Answers, folder: Path) -> dict[str, Any]:
    started = time.monotonic()
    elapsed = time.time() - psutil.Process().create_time()
    chosen = run.chosen
    photos = material.gather(
        run.photos.photos,
        run.splits.train,
        run.photos.test.index,
        answers,
        elapsed,
        chosen.image_size,
        chosen.seed,
        run.should_stop,
    )
    order = Order(
        artifact=str(folder),
        tolerance=chosen.int8_tolerance,
        threads=resources.cpu_count(),
        budget_seconds=material.budget_seconds(elapsed),
    )
    made = maker.make(order, photos, say, run.should_stop)
    if made:
        say(
            f"compiled engine: {made['precision']}, {made['decision']}; "
            f"made in {time.monotonic() - started:.0f} s"
        )
    return made
