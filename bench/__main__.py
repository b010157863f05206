"""docker run IMAGE bench: starts the server on /opt/ml/model and sends it photos, ever more at a
time.

Prints a row for each number of requests at a time, the knee, and as its last line one JSON object.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench import load, photos, server
from bench.load import BenchError, Load
from container import resources

MADE = 16
CONCURRENCY = "1,2,4,8,16,32,64"
WARM_UP_SECONDS = 1.0
KNEE_SHARE = 0.95
"""Of the most images/s that were seen: who waits longer for the rest gains next to nothing."""


def main() -> None:
    options = parse()
    bodies = read(options.photos) if options.photos else list(photos.made(MADE))
    size = sum(map(len, bodies)) / len(bodies) / 1000
    try:
        with server.running() as (port, engine):
            print(f"engine: {engine}; processors: {resources.cpu_count()}")
            print(f"photos: {len(bodies)} JPEGs of {size:.0f} kB, a body of its own each time")
            print("at a time  images/s    p50 ms    p99 ms  refused", flush=True)
            load.run(port, bodies, max(options.concurrency), WARM_UP_SECONDS)
            loads = []
            for concurrency in options.concurrency:
                loads.append(load.run(port, bodies, concurrency, options.seconds))
                print(row(loads[-1]), flush=True)
    except BenchError as error:
        sys.exit(f"bench: {error}")
    found = knee(loads)
    best = max(loads, key=lambda each: each.rate)
    print(
        f"knee: {found.concurrency} at a time answer {found.rate:.1f} images/s, "
        f"{found.rate / best.rate:.0%} of the most ({best.rate:.1f} at {best.concurrency}); "
        "more at a time only wait longer"
    )
    print(json.dumps(result(engine, loads, found)), flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench", description="Images/s and latency of the model by requests at a time."
    )
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="of .jpg files to send")
    parser.add_argument(
        "--concurrency",
        type=numbers,
        default=numbers(CONCURRENCY),
        metavar="N,N,...",
        help=f"requests at a time; default {CONCURRENCY}",
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="of load for each; default 5")
    options = parser.parse_args()
    if options.seconds <= 0:
        parser.error("--seconds must be above 0")
    return options


def numbers(text: str) -> list[int]:
    found = sorted({int(each) for each in text.split(",")})
    if not found or found[0] < 1:
        raise ValueError
    return found


def read(folder: Path) -> list[bytes]:
    """Raises SystemExit where the folder holds no JPEG."""
    files = sorted(each for each in folder.rglob("*") if each.suffix.lower() in (".jpg", ".jpeg"))
    bodies = [each.read_bytes() for each in files]
    bodies = [body for body in bodies if body.startswith(load.JPEG_START)]
    if not bodies:
        sys.exit(f"bench: {folder} holds no .jpg file")
    return bodies


def row(seen: Load) -> str:
    p50, p99 = seen.percentile(0.50), seen.percentile(0.99)
    return f"{seen.concurrency:9d}{seen.rate:10.1f}{p50:10.1f}{p99:10.1f}{seen.refused:9d}"


def knee(loads: list[Load]) -> Load:
    """The fewest at a time that answer nearly as many images a second as any number does."""
    most = max(each.rate for each in loads)
    near = [each for each in loads if each.rate >= KNEE_SHARE * most]
    return min(near, key=lambda each: each.concurrency)


def result(engine: str, loads: list[Load], found: Load) -> dict[str, Any]:
    return {
        "engine": engine,
        "processors": resources.cpu_count(),
        "knee": found.concurrency,
        "at": {
            str(each.concurrency): {
                "images_per_second": round(each.rate, 2),
                "p50_ms": round(each.percentile(0.50), 2),
                "p99_ms": round(each.percentile(0.99), 2),
                "refused": each.refused,
                "client_cpu": round(each.client_seconds / each.seconds, 3),
            }
            for each in loads
        },
    }


if __name__ == "__main__":
    main()
