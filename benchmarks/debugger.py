"""What the Debugger's hook costs, beside smdebug's used plainly, and beside no hook at all.

    python -m benchmarks.debugger [--rounds 8] [--jobs 1] [--out FILE.json]

Full fine-tuning goes through the real loop, on pixels in memory: every way of saving trains a
network of its own, and they take turns, two updates each. Jobs on kept features are whole jobs by
the image's own entry point, on as many photos as the projects of dog breeds have: looking into the
network costs a few seconds a look, which a job of some seconds would feel.
"""

import argparse
import json
import re
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from artifact import network as networks
from benchmarks import result, setting, training
from benchmarks.steps import Clock, Held, Ours
from debugger import hook as debug
from train import device, loop
from train.hyperparameters import Hyperparameters
from train.index import Index

CLASSES = 100
INTERVAL = 500
"""Of the defaults."""
NEVER = 10**6
"""An interval that no benchmark reaches again: what an update costs that saves nothing."""
USUAL = ["weights", "biases", "gradients", "losses"]
LIMITS = {"unconfigured": 0.0, "defaults": 3.0, "head": 15.0, "features": 10.0}
"""Per cent, of what this benchmark is to show."""
WATCHED = {
    "debug_save_interval": "50",
    "debug_collections": json.dumps([*USUAL, "relu_output", "input_image", "labels"]),
}
"""Of the jobs on features: the backbone does not run, and is looked into."""


class Debugged(Clock):
    """The loop's events, with a hook among them."""

    def __init__(self, hook: debug.Hook) -> None:
        super().__init__(NEVER)
        self.hook = hook

    def update_begins(self, state: loop.State) -> None:
        self.hook.update_begins(state.step)

    def update_done(self, state: loop.State, images: int) -> None:
        self.hook.update_done()
        super().update_done(state, images)


class Way:
    """A network that is trained in one way of saving."""

    def __init__(self, chosen: Hyperparameters) -> None:
        self.ours = Ours(chosen, CLASSES)
        self.criterion = nn.CrossEntropyLoss()
        self.state = loop.State()
        self.hook: debug.Hook = debug.NoHook()
        self.pairs: list[float] = []

    def pair(self, held: Held) -> float:
        """Seconds of two updates; where every second one saves, of one of each kind."""
        events = Debugged(self.hook)
        ours = self.ours
        loop.fit(
            ours.network, self.criterion, ours.optimizer, ours.scaler, lambda step: 1e-5, held,
            self.state, events, epochs=self.state.epoch + 2, patience=0, fine_tune="all",
            device=ours.device, autocast=ours.autocast,
        )  # fmt: skip
        return events.at[2] - events.at[0]

    @property
    def seconds(self) -> float:
        """Of the quickest round: what else a machine does can only add to it."""
        return min(self.pairs) / 2


def main() -> None:
    options = parse()
    described = setting.describe("debugger")
    chosen = Hyperparameters(
        network=options.network, image_size=options.image_size, batch_size=options.batch_size,
        fine_tune="all", pretrained=False, optimizer="sgd",
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        updates = full(chosen, Path(scratch), options.rounds)
        jobs = on_features(options, Path(scratch))
    described |= {
        "network": options.network, "image_size": options.image_size, "weights": "random",
        "batch": options.batch_size, "rounds": options.rounds, "photos": jobs.pop("photos"),
    }  # fmt: skip
    whole = {
        "benchmark": "debugger",
        "setting": described,
        "updates": updates,
        "features": jobs,
        "percent": percent(updates, jobs),
        "limits": LIMITS,
    }
    result.give(whole, rows(whole), options.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    training.add_options(parser)
    parser.set_defaults(per_class=80, crops=20)
    parser.add_argument("--batch-size", type=int, default=16, help="of an update; default 16")
    parser.add_argument("--rounds", type=int, default=8, help="of the ways in turn; default 8")
    parser.add_argument("--jobs", type=int, default=1, help="on features, of each kind; default 1")
    parser.add_argument("--job-epochs", type=int, default=10, help="of each; default 10")
    result.add_options(parser)
    options: argparse.Namespace = parser.parse_args()
    if min(options.rounds, options.jobs, options.job_epochs) < 1 or options.batch_size < 2:
        parser.error("--rounds, --jobs and --job-epochs must be above 0, --batch-size above 1")
    return options


def full(chosen: Hyperparameters, scratch: Path, rounds: int) -> dict[str, Any]:
    """Seconds per update of each way in its quickest round, after a first that is not counted."""
    head = rf"^gradient/.*_{re.escape(networks.head_path(networks.build(chosen.network, 2)))}\."
    settings: dict[str, dict[str, Any]] = {
        "idle": {"interval": NEVER, "collections": USUAL},
        "saving": {"interval": 2, "collections": USUAL},
        "head": {"interval": 1, "patterns": [head]},
    }
    ways = {"none": Way(chosen)}
    for name, wished in settings.items():
        ways[f"ours {name}"] = ours(Way(chosen), scratch / f"ours-{name}", wished)
        ways[f"smdebug {name}"] = plainly(Way(chosen), scratch / f"smdebug-{name}", wished)
    flops = device.forward_flops(chosen.network, chosen.image_size)
    micro = device.micro_batch(chosen.batch_size, flops, ways["none"].ours.device)
    index = Index.of("train", scratch, (("", 0) for _ in range(chosen.batch_size)))
    held = Held(index, CLASSES, chosen.batch_size, micro, chosen.image_size)
    for turn in range(rounds + 1):
        order = list(ways) if turn % 2 else list(reversed(ways))
        for name in order:
            seconds = ways[name].pair(held)
            if turn:
                ways[name].pairs.append(seconds)
        done = (f"{name} {way.pairs[-1] / 2:.3f} s" for name, way in ways.items() if way.pairs)
        training.say(f"round {turn} of {rounds}: {', '.join(done)}")
    for way in ways.values():
        way.hook.close()
    return {
        "seconds": {name: way.seconds for name, way in ways.items()},
        "pairs": {name: way.pairs for name, way in ways.items()},
        "unconfigured_call_seconds": no_hook_seconds(),
        "micro_batch": micro,
    }


def ours(way: Way, folder: Path, wished: dict[str, Any]) -> Way:
    asked: dict[str, Any] = {"eval_interval": 1, "collections": [], "reductions": [],
                             "patterns": [], "histograms": False, **wished}  # fmt: skip
    settings = debug.asked(folder / "tensors", folder / "tensorboard", **asked)
    assert settings is not None
    # tensors only: scalars for TensorBoard are not what the other side writes
    place = debug.Place(folder / "tensors", folder / "tensorboard", folder / "debugger.json")
    way.hook = debug.create(settings, place, 0, training.say)
    way.hook.register(way.ours.network, way.criterion, way.ours.optimizer)
    return way


def plainly(way: Way, folder: Path, wished: dict[str, Any]) -> Way:
    """As smdebug's guide has it (docs/pytorch.md of awslabs/sagemaker-debugger)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import smdebug.pytorch as smd

    hook = smd.Hook(
        out_dir=str(folder),
        save_config=smd.SaveConfig(save_interval=wished["interval"]),
        include_collections=wished.get("collections"),
        include_regex=wished.get("patterns"),
    )
    hook.register_module(way.ours.network)
    hook.register_loss(way.criterion)
    hook.set_mode(smd.modes.TRAIN)
    return way


def no_hook_seconds(calls: int = 100_000) -> float:
    """Of an update's calls where nothing is configured."""
    hook = debug.NoHook()
    started = time.perf_counter()
    for step in range(calls):
        hook.update_begins(step)
        hook.update_done()
    return (time.perf_counter() - started) / calls


def on_features(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Whole jobs in turn, with nothing kept from one to the next."""
    place = training.prepare(options, scratch)
    seconds: dict[str, list[float]] = {"none": [], "ours": []}
    said: list[dict[str, Any]] = []
    for number in range(options.jobs):
        for kind, more in (("none", {}), ("ours", WATCHED)):
            name = f"job-{kind}-{number}"
            done = training.job(place, name, options.job_epochs, None, **more)
            seconds[kind].append(done["seconds"])
        cost = place.scratch / f"job-ours-{number}" / "output" / "data" / "debugger.json"
        said.append(json.loads(cost.read_text()))
    return {
        "seconds": seconds,
        "said": said,
        "photos": sum(1 for _ in place.photos.glob("*/*/*")),
    }


def percent(updates: dict[str, Any], jobs: dict[str, Any]) -> dict[str, Any]:
    """More time than without a hook."""
    seconds = updates["seconds"]
    alone: float = seconds["none"]

    def more(name: str) -> float:
        took: float = seconds[name]
        return 100 * (took - alone) / alone

    def defaults(side: str) -> float:
        """One update of so many saves: twice what a pair of one that saves takes more."""
        idle, saving = more(f"{side} idle"), 2 * more(f"{side} saving")
        return (idle * (INTERVAL - 1) + saving) / INTERVAL

    without = min(jobs["seconds"]["none"])

    def sides(figure: Callable[[str], float]) -> dict[str, float]:
        return {side: round(figure(side), 3) for side in ("ours", "smdebug")}

    return {
        "unconfigured": round(100 * updates["unconfigured_call_seconds"] / alone, 6),
        "idle": sides(lambda side: more(f"{side} idle")),
        "defaults": sides(defaults),
        "head": sides(lambda side: more(f"{side} head")),
        "features": round(100 * (min(jobs["seconds"]["ours"]) - without) / without, 3),
    }


def rows(whole: dict[str, Any]) -> list[list[str]]:
    found, limits = whole["percent"], whole["limits"]
    seconds = whole["updates"]["seconds"]
    lines = [["more time than without a hook", "smdebug", "ours", "at most"]]

    def line(title: str, figure: Any, limit: str = "") -> None:
        pair = figure if isinstance(figure, dict) else {"ours": figure}
        cells = [f"{pair[side]:.2f} %" if side in pair else "" for side in ("smdebug", "ours")]
        lines.append([title, *cells, f"{limits[limit]:g} %" if limit else ""])

    line("nothing configured", found["unconfigured"], "unconfigured")
    line("an update that saves nothing", found["idle"])
    line(f"defaults, every {INTERVAL} updates", found["defaults"], "defaults")
    line("the head's gradients at every update", found["head"], "head")
    line("a whole job on kept features, looked into", found["features"], "features")
    saves = [f"{2 * (seconds[f'{side} saving'] - seconds['none']):.2f} s"
             for side in ("smdebug", "ours")]  # fmt: skip
    lines.append(["defaults, one update that saves", *saves, ""])
    lines.append(["an update without a hook", "", f"{seconds['none']:.2f} s", ""])
    return lines


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
