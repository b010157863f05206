"""What bounds many GPUs and hosts, measured part by part: decoding, arithmetic, exchange.

    python -m benchmarks.scaling [--network resnet50] [--processes 2] [--out FILE]

The exchange is one update's: all gradients, statistics and counts, summed over processes on this
machine's loopback. `scaling.md` beside this file says what follows for 8 GPUs and 8 hosts.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from artifact import network as networks
from artifact.preprocess import Preprocessing
from benchmarks import photos, result, setting
from container import cluster, resources
from train import device as devices
from train.batches import Photos
from train.distributed import join
from train.index import Index
from train.schedule import Spec, schedule_epoch

CLASSES = 100
MIB = 1 << 20


def main() -> None:
    options = parse()
    if "RANK" in os.environ:
        print(" ".join(f"{seconds:.6f}" for seconds in exchanges(options)))
        return
    described = setting.describe("scaling") | {
        "network": options.network,
        "image_size": options.image_size,
        "batch": options.batch_size,
        "processes": options.processes,
        "seconds": options.seconds,
    }
    whole: dict[str, Any] = {"benchmark": "scaling", "setting": described}
    whole["decode"] = decode(options)
    whole["compute"] = compute(options)
    whole["exchange"] = exchange(options)
    result.give(whole, rows(whole), options.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    result.add_options(parser)
    return parser.parse_args()


def decode(options: argparse.Namespace) -> dict[str, float]:
    """As a worker process does it: read, decode, cut at random; on one processor."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        photos.make(Path(folder))
        names = sorted(path.name for path in Path(folder).iterdir())
        index = Index.of("train", Path(folder), ((name, 0) for name in names))
        source = Photos(index, Preprocessing.for_size(options.image_size), "crop", seed=0)
        specs = list(schedule_epoch(len(index), len(index), len(index), 0, 0))
        rates = repeat(lambda: _decode(source, specs), options.seconds)
    torch.set_num_threads(threads)
    return {"images_per_second_per_core": len(names) / statistics.median(rates)}


def _decode(source: Photos, specs: list[Spec]) -> None:
    for spec in specs:
        source[spec]


def compute(options: argparse.Namespace) -> dict[str, Any]:
    """Forward and backward, no data and no exchange, in the precision that training would take."""
    device = devices.pick()
    dtype = devices.precision("auto", device)
    network = networks.build(options.network, CLASSES, image_size=options.image_size)
    network.to(device).to(memory_format=torch.channels_last).train()
    side = options.image_size
    images = torch.rand(options.batch_size, 3, side, side, device=device)
    images = images.to(memory_format=torch.channels_last)
    targets = torch.zeros(options.batch_size, dtype=torch.int64, device=device)

    def step() -> None:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            logits = network(images)
        cross_entropy(logits.float(), targets).backward()  # type: ignore[no-untyped-call]
        network.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize()

    seconds = statistics.median(repeat(step, options.seconds))
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "processors": resources.cpu_count(),
        "precision": str(dtype).removeprefix("torch."),
        "images_per_second": options.batch_size / seconds,
    }


def exchange(options: argparse.Namespace) -> dict[str, Any]:
    """One update's, between processes that do nothing else."""
    port = str(cluster.free_port())
    shared = {
        "WORLD_SIZE": str(options.processes), "LOCAL_WORLD_SIZE": str(options.processes),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GROUP_RANK": "0",
        "GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [
        sys.executable, "-m", "benchmarks.scaling", "--network", options.network,
        "--image-size", str(options.image_size), "--seconds", str(options.seconds),
    ]  # fmt: skip
    members = [
        subprocess.Popen(
            command,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(options.processes)
    ]
    said = [member.communicate(timeout=options.seconds * 10 + 300)[0] for member in members]
    if any(member.returncode for member in members):
        raise SystemExit("a process of the exchange failed")
    seconds = statistics.median(map(float, said[0].split()))
    network = networks.build(options.network, CLASSES, image_size=options.image_size)
    size = sum(parameter.numel() * 4 for parameter in network.parameters())
    return {
        "gradient_bytes": size,
        "seconds": seconds,
        "mib_per_second": size / MIB / seconds,
    }


def exchanges(options: argparse.Namespace) -> list[float]:
    """Seconds of each exchange, as one of the processes sees them."""
    team = join()
    device = torch.device("cpu")
    network = networks.build(options.network, CLASSES, image_size=options.image_size).to(device)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    times: list[float] = []
    deadline = time.monotonic() + options.seconds
    late = 0.0
    while not late or len(times) < 4:
        begun = time.perf_counter()
        # all stop at the same one: whoever is late says so in the message
        *_, late = team.combine(optimizer, network, (0.0, 0, 1, time.monotonic() > deadline))
        times.append(time.perf_counter() - begun)
    team.leave()
    return times[1:]


def repeat(action: Any, seconds: float) -> list[float]:
    """Seconds of each run of `action`, after one that does not count."""
    action()
    times: list[float] = []
    deadline = time.monotonic() + seconds
    while not times or time.monotonic() < deadline:
        begun = time.perf_counter()
        action()
        times.append(time.perf_counter() - begun)
    return times


def rows(whole: dict[str, Any]) -> list[tuple[str, str]]:
    decoded, computed, exchanged = whole["decode"], whole["compute"], whole["exchange"]
    return [
        ("part", "measured"),
        ("decoding, images/s per core", f"{decoded['images_per_second_per_core']:.1f}"),
        (
            f"forward and backward on {computed['device']}, {computed['precision']}, images/s",
            f"{computed['images_per_second']:.1f}",
        ),
        ("gradients, MiB", f"{exchanged['gradient_bytes'] / MIB:.1f}"),
        ("exchange on the loopback, s", f"{exchanged['seconds']:.3f}"),
        ("exchange on the loopback, MiB/s", f"{exchanged['mib_per_second']:.0f}"),
    ]


if __name__ == "__main__":
    main()
