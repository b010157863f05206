"""Whether torch.compile pays in training on this device: an update with it, without it, its wait.

    python -m benchmarks.compiling [--network resnet50] [--image-size 224] [--batch-size 16]

The real loop trains the same network twice, eager and compiled by torch's default backend, in turns
on pixels in memory. It needs a C++ compiler, which the image leaves out.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import result, setting, training
from benchmarks.steps import Clock, Held, Ours
from train import device
from train.hyperparameters import Hyperparameters
from train.index import Index

CLASSES = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    result.add_options(parser)
    options = parser.parse_args()
    described = setting.describe("compiling")
    chosen = Hyperparameters(
        network=options.network, image_size=options.image_size, batch_size=options.batch_size,
        fine_tune="all", pretrained=False,
    )  # fmt: skip
    found = measure(chosen, options.rounds)
    described |= {"network": options.network, "image_size": options.image_size,
                  "batch": options.batch_size, "rounds": options.rounds}  # fmt: skip
    saved = found["eager_seconds"] - found["compiled_seconds"]
    found["ratio"] = round(found["eager_seconds"] / found["compiled_seconds"], 3)
    found["updates_to_win_back"] = round(found["wait_seconds"] / saved) if saved > 0 else None
    rows = [
        ["", "seconds"],
        ["an update, eager", f"{found['eager_seconds']:.3f}"],
        ["an update, compiled", f"{found['compiled_seconds']:.3f}"],
        ["the wait for the compiler", f"{found['wait_seconds']:.1f}"],
    ]
    back = found["updates_to_win_back"]
    more = [f"ratio {found['ratio']:.2f}; " + (
        f"the wait is won back after {back:,} updates" if back else "the wait is never won back"
    )]  # fmt: skip
    result.give({"benchmark": "compiling", "setting": described, **found}, rows, options.out, more)


def measure(chosen: Hyperparameters, rounds: int) -> dict[str, Any]:
    """Seconds of an update in its quickest round: what else a machine does only adds to it."""
    sides = {"eager": Ours(chosen, CLASSES), "compiled": Ours(chosen, CLASSES)}
    flops = device.forward_flops(chosen.network, chosen.image_size)
    micro = device.micro_batch(chosen.batch_size, flops, sides["eager"].device)
    index = Index.of("train", Path(), (("", 0) for _ in range(chosen.batch_size)))
    held = Held(index, CLASSES, chosen.batch_size, micro, chosen.image_size)
    sides["compiled"].network.compile()  # in place; compiled at the first pass
    first = {name: update(side, held, 1) for name, side in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides)[:: 1 if number % 2 else -1]:
            seconds[name].append(update(sides[name], held, 2) / 2)
        training.say(
            f"round {number + 1}: {', '.join(f'{k} {v[-1]:.3f} s' for k, v in seconds.items())}"
        )
    return {
        "eager_seconds": round(min(seconds["eager"]), 4),
        "compiled_seconds": round(min(seconds["compiled"]), 4),
        "wait_seconds": round(first["compiled"] - first["eager"], 1),
        "seconds": seconds,
        "micro_batch": micro,
        "device": str(sides["eager"].device),
    }


def update(side: Ours, held: Held, count: int) -> float:
    started = time.monotonic()
    side.train(held, Clock(count), epochs=count)
    return time.monotonic() - started


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
