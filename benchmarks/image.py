"""The image: its size by layer and in total, and `docker run` to the first good /ping.

python -m benchmarks.image [--image image-classification:latest] [--out FILE]
"""

import argparse
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import model, result, servers, setting
from benchmarks.servers import OURS, Place

MB = 1_000_000
"""As docker prints sizes."""
STEP_CHARACTERS = 72


def main() -> None:
    options = parse()
    described = setting.describe("image", options.image)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        base = Path(scratch)
        base.chmod(0o755)  # the image's user may be another one
        model.make(base / "model", options.network, options.image_size)
        place = Place(base, options.image, options.docker_options)
        starts = [start(place) for _ in range(options.starts)]
    described |= {
        "network": options.network,
        "image_size": options.image_size,
        "docker": servers.docker("version", "--format", "{{.Server.Version}}").strip(),
        "docker_options": options.docker_options,
    }
    whole = {
        "benchmark": "image",
        "setting": described,
        "bytes": int(servers.docker("image", "inspect", "--format", "{{.Size}}", options.image)),
        "layers": layers(options.image),
        "start_seconds": round(statistics.median(starts), 3),
        "starts": [round(seconds, 3) for seconds in starts],
    }
    result.give(whole, rows(whole), options.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--image", default="image-classification:latest")
    parser.add_argument("--starts", type=int, default=3, help="default 3")
    parser.add_argument("--docker-options", default="", help="for docker run, e.g. '--cpus 2'")
    model.add_options(parser)
    result.add_options(parser)
    options: argparse.Namespace = parser.parse_args()
    if not servers.docker("image", "inspect", options.image):
        parser.error(f"no Docker engine answers, or it has no image {options.image}")
    if options.starts < 1:
        parser.error("--starts must be above 0")
    return options


def start(place: Place) -> float:
    with servers.running(OURS, place) as server:
        print(f"ready after {server.start_seconds:.2f} s", file=sys.stderr, flush=True)
        return server.start_seconds


def layers(image: str) -> list[dict[str, Any]]:
    """Those with bytes, the lowest first, and the build step that made each."""
    form = "{{.Size}}\t{{.CreatedBy}}"
    lines = servers.docker(
        "history", "--no-trunc", "--human=false", "--format", form, image
    ).splitlines()
    parted = [line.partition("\t") for line in reversed(lines)]
    found = [{"bytes": int(size), "step": step(text)} for size, _, text in parted]
    return [layer for layer in found if layer["bytes"]]


def step(created_by: str) -> str:
    """The build step without what the builder puts before it, hashes, and runs of blanks."""
    text = re.sub(r"^\|\d+ (?:\w+=\S* )*", "", created_by)
    text = re.sub(r"^/bin/sh -c (?:#\(nop\) *)?", "", text)
    text = re.sub(r":[0-9a-f]{64}", "", text)
    return " ".join(text.split()) or "base"


def rows(whole: dict[str, Any]) -> list[list[str]]:
    shown = [
        [layer["step"][:STEP_CHARACTERS], f"{layer['bytes'] / MB:.1f} MB"]
        for layer in whole["layers"]
    ]
    return [
        ["layer, the lowest first", "size"],
        *shown,
        ["in total", f"{whole['bytes'] / MB:.1f} MB"],
        ["docker run to first /ping 200", f"{whole['start_seconds']:.2f} s"],
    ]


if __name__ == "__main__":
    main()
