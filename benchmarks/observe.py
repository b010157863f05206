"""What counting costs a request, and what a scrape costs the server.

    python -m benchmarks.observe [--requests 20000] [--models 50] [--out FILE]

A request's marks and counts are taken in turns with the decoding of a photo of the usual size, so
that their ratio does not depend on how busy the machine is.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from artifact.preprocess import Preprocessing, pixels
from benchmarks import photos, result, setting
from container.settings import Settings
from serve import trace
from serve.watch import Watch

PROJECT = Path(__file__).resolve().parents[1]
TURNS = 20
DECODED = 5
"""Photos a turn."""
FIRST_SCRAPE = """
import json, time
from container.settings import Settings
from serve.watch import Watch, resident_bytes
import os
watch = Watch(Settings(), lambda: [])
watch.tally("")
before, start = resident_bytes(os.getpid()), time.perf_counter()
from serve import exposition
exposition.text(watch, "")
print(json.dumps([time.perf_counter() - start, resident_bytes(os.getpid()) - before]))
"""


def main() -> None:
    options = parse()
    counting, decoding = turns(options.requests)
    first_seconds, first_bytes = first_scrape()
    whole: dict[str, Any] = {
        "benchmark": "observe",
        "setting": setting.describe("observe")
        | {"requests": options.requests, "models": options.models, "turns": TURNS},
        "request_us": round(counting * 1e6, 2),
        "decode_us": round(decoding * 1e6, 1),
        "ratio": round(counting / decoding, 5),
        "first_scrape_ms": round(first_seconds * 1e3, 1),
        "first_scrape_mib": round(first_bytes / (1 << 20), 1),
        "scrape_ms": {str(count): round(scrape(count) * 1e3, 2) for count in (1, options.models)},
    }
    result.give(whole, rows(whole), options.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--requests", type=int, default=20_000, help="counted; default 20000")
    parser.add_argument("--models", type=int, default=50, help="of the larger scrape; default 50")
    result.add_options(parser)
    options: argparse.Namespace = parser.parse_args()
    if options.requests < TURNS or options.models < 1:
        parser.error(f"--requests must be at least {TURNS} and --models above 0")
    return options


def turns(requests: int) -> tuple[float, float]:
    """Medians: seconds of one request's marks and counts, and of one photo's decoding."""
    watch = Watch(Settings(), lambda: [])
    photo, rules = one_photo(), Preprocessing.for_size(224)
    counting, decoding = [], []
    for _ in range(TURNS):
        each = requests // TURNS
        start = time.perf_counter()
        for _ in range(each):
            count(watch)
        between = time.perf_counter()
        for _ in range(DECODED):
            pixels(photo, rules)
        counting.append((between - start) / each)
        decoding.append((time.perf_counter() - between) / DECODED)
    return statistics.median(counting), statistics.median(decoding)


def one_photo() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        photos.make(Path(folder))
        return min(Path(folder).iterdir()).read_bytes()


def count(watch: Watch) -> None:
    """All that the way of one request to one photo's answer leaves behind."""
    trace.begin("an-inference-id")
    trace.asks("")
    trace.mark("read")
    trace.mark("queue")
    trace.mark("decode")
    watch.tally("").batch(1)
    trace.classified(1, time.monotonic())
    trace.mark("encode")
    watch.finish(200)


def first_scrape() -> tuple[float, float]:
    """Seconds and bytes of resident memory, in a fresh process: it imports what writes the text."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST_SCRAPE],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, held = json.loads(done.stdout)
    return seconds, held


def scrape(models: int) -> float:
    """Seconds of one, without what the engines are asked: the median of several."""
    from serve import exposition

    watch = Watch(Settings(), lambda: [])
    for number in range(models):
        trace.begin()
        trace.asks(f"model-{number}")
        watch.finish(200)
    times = []
    for _ in range(9):
        start = time.perf_counter()
        exposition.text(watch, "")
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def rows(whole: dict[str, Any]) -> list[list[str]]:
    return [
        ["", ""],
        ["a request's marks and counts, microseconds", f"{whole['request_us']:.2f}"],
        ["decoding one photo, microseconds", f"{whole['decode_us']:,.0f}"],
        ["ratio", f"{whole['ratio']:.4f}"],
        ["the first scrape, ms", f"{whole['first_scrape_ms']:.0f}"],
        ["  memory it adds, MiB", f"{whole['first_scrape_mib']:.1f}"],
        *([f"a scrape, {count} models, ms", f"{value:.2f}"]
          for count, value in whole["scrape_ms"].items()),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
