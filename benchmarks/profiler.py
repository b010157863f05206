"""What the profiler costs: a step with it and without, in turns, and its own processor time.

    python -m benchmarks.profiler [--network resnet50] [--image-size 224] [--batch-size 8]

The real loop trains the network on pixels in memory, in turns of a few updates: with nothing, with
marks and a timeline and a sampler beside it. A turn of each makes a pair, in changing order, so
that a machine that gets busier or hotter meets both. Then the parts by themselves: a mark, a step's
end, a sample, in microseconds of processor time.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import result, setting
from benchmarks.steps import Held, Ours
from debugger.profiler import settings
from debugger.profiler.job import Place, Profiler
from debugger.profiler.machine import Machine
from train import loop
from train.evaluate import Evaluation
from train.hyperparameters import Hyperparameters
from train.index import Index
from train.waiting import Timed


class Turn:
    """The loop's events over so many updates, told to a profiler where there is one."""

    def __init__(self, updates: int, profiler: Profiler | None) -> None:
        self.updates, self.profiler = updates, profiler
        self.begun = self.ended = 0.0
        self.done = 0

    @property
    def seconds(self) -> float:
        return (self.ended - self.begun) / max(1, self.done)

    def should_stop(self) -> bool:
        return self.done >= self.updates

    def train_mode(self) -> None:
        self.begun = self.begun or time.perf_counter()
        if self.profiler is not None:
            self.profiler.begin(self.done)

    def update_begins(self, state: loop.State) -> None: ...

    def ended_by(self) -> str:
        return ""

    def update_done(self, state: loop.State, images: int) -> None:
        if self.profiler is not None:
            self.profiler.step_done(state.step - 1, state.epoch + 1, images)
        self.done += 1
        self.ended = time.perf_counter()

    def evaluate(self) -> Evaluation:
        return Evaluation(0.0, np.zeros((2, 2), np.int64))

    def bad_files_seen(self, index: Index, lines: list[str]) -> None: ...
    def epoch_done(self, state: loop.State, is_best: bool) -> None: ...


def profiler(folder: Path, device: torch.device, interval_ms: int) -> Profiler:
    base = settings.from_hyperparameters("system", interval_ms, folder / "profiler")
    watched = settings.Watched(base, folder / "none.json", folder / "profiler")
    place = Place(host="algo-1", host_number=1, device=device, output=folder)
    return Profiler(watched, place, lambda line: None)


def turn(ours: Ours, held: Held, updates: int, interval_ms: int | None) -> tuple[float, float]:
    """Seconds of an update, and of the sampler's processor per second of the turn."""
    if interval_ms is None:
        events = Turn(updates, None)
        train(ours, Timed(held), events, loop.untimed)
        return events.seconds, 0.0
    with tempfile.TemporaryDirectory() as folder:
        made = profiler(Path(folder), ours.device, interval_ms)
        made.start()
        begun = time.perf_counter()
        events = Turn(updates, made)
        train(ours, Timed(held, made.stage), events, made.stage)
        whole = time.perf_counter() - begun
        made.abandon()
        assert made.sampler is not None
        return events.seconds, made.sampler.cpu_seconds / whole


def train(ours: Ours, batches: Timed, events: Turn, stage: Callable[[str], None]) -> None:
    loop.fit(
        ours.network, nn.CrossEntropyLoss(), ours.optimizer, ours.scaler, lambda step: 1e-5,
        batches, loop.State(), events, epochs=events.updates, patience=0, fine_tune="all",
        device=ours.device, autocast=ours.autocast, stage=stage,
    )  # fmt: skip


def ratios(ours: Ours, held: Held, updates: int, turns: int, interval_ms: int) -> dict[str, Any]:
    """Medians over the pairs, after a first one that is not counted."""
    pairs, cpu = [], []
    for number in range(turns + 1):
        order: list[int | None] = [None, interval_ms]
        if number % 2:
            order.reverse()
        seconds = {}
        for each in order:
            seconds[each], share = turn(ours, held, updates, each)
            if number and each is not None:
                cpu.append(share)
        if number:
            pairs.append((seconds[None], seconds[interval_ms]))
    return {
        "without_seconds": statistics.median(each for each, _ in pairs),
        "with_seconds": statistics.median(each for _, each in pairs),
        "ratio": statistics.median(after / before for before, after in pairs),
        "ratios": [after / before for before, after in pairs],
        "sampler_cpu_per_second": statistics.median(cpu),
    }


def parts(device: torch.device) -> dict[str, float]:
    """Microseconds of a mark, of a whole step's marks and its end, and of a sample's processor."""
    with tempfile.TemporaryDirectory() as folder:
        made = profiler(Path(folder), device, settings.INTERVAL_MS)
        made.begin(0)
        mark = _microseconds(lambda: made.stage("forward"), 20_000)

        def step() -> None:
            for name in ("data_wait", "other", "host_to_device", "forward", "backward", "other",
                         "optimizer", "other"):  # fmt: skip
                made.stage(name)
            made.step_done(0, 1, 32)

        whole = _microseconds(step, 5_000)
        made.abandon()
    machine = Machine()
    sample = _microseconds(machine.read, 200)
    return {"mark_us": mark, "step_us": whole, "sample_us": sample}


def _microseconds(call: Callable[[], object], times: int) -> float:
    begun = time.thread_time()
    for _ in range(times):
        call()
    return (time.thread_time() - begun) / times * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--updates", type=int, default=5, help="of a turn")
    parser.add_argument("--turns", type=int, default=9, help="pairs of turns")
    parser.add_argument("--interval-ms", type=int, default=settings.INTERVAL_MS)
    result.add_options(parser)
    options = parser.parse_args()
    described = setting.describe("profiler")
    chosen = Hyperparameters(
        network=options.network, image_size=options.image_size, batch_size=options.batch_size,
        fine_tune="all", pretrained=False,
    )  # fmt: skip
    ours = Ours(chosen, 100)
    index = Index.of("train", Path(), [])
    held = Held(index, 100, options.batch_size, options.batch_size, options.image_size)
    figures = ratios(ours, held, options.updates, options.turns, options.interval_ms)
    small = parts(ours.device)
    own = {"network": options.network, "image_size": options.image_size,
           "batch": options.batch_size, "updates": options.updates, "turns": options.turns,
           "interval_ms": options.interval_ms, "device": str(ours.device)}  # fmt: skip
    rows = [
        ("", "without", "with", "ratio", "better"),
        ("seconds an update", f"{figures['without_seconds']:.4f}",
         f"{figures['with_seconds']:.4f}", f"{figures['ratio']:.4f}", "1 or lower"),
        ("processor of the sampler, per second", "0",
         f"{figures['sampler_cpu_per_second']:.5f}", "", "lower"),
        ("microseconds of a mark", "", f"{small['mark_us']:.2f}", "", "lower"),
        ("microseconds of a step's timing", "", f"{small['step_us']:.2f}", "", "lower"),
        ("microseconds of a sample", "", f"{small['sample_us']:.0f}", "", "lower"),
    ]  # fmt: skip
    whole = {"benchmark": "profiler", "setting": {**described, **own}, "steps": figures,
             "parts": small}  # fmt: skip
    result.give(whole, rows, options.out)


if __name__ == "__main__":
    main()
