"""The load generator: one connection per thread, each asks again as soon as it has its answer.

    python -m benchmarks.load PORT FOLDER CONCURRENCY SECONDS

A process of its own with nothing but the standard library, so that it takes little of what it
measures; it shares the processors with the server all the same, and says how much it took. Every
body differs, by a comment in the JPEG, so that no cache can answer; the pixels to decode stay.
"""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import load


@dataclass(frozen=True)
class Load:
    seconds: float
    """From the start to the last answer."""
    latencies_ms: list[float]
    cpu_seconds: float
    """Of this process."""


def run(port: int, folder: Path, concurrency: int, seconds: float) -> Load:
    """Raises RuntimeError for any answer but a prediction: a refusal is quick, and no figure."""
    photos = [path.read_bytes() for path in sorted(folder.iterdir())
              if path.suffix.lower() in (".jpg", ".jpeg")]  # fmt: skip
    try:
        seen = load.run(port, photos, concurrency, seconds)
    except load.BenchError as error:
        raise RuntimeError(str(error)) from error
    if seen.refused:
        raise RuntimeError(f"{seen.refused} requests were refused")
    return Load(seen.seconds, [1000 * each for each in seen.latencies], seen.client_seconds)


def in_process(port: int, folder: Path, concurrency: int, seconds: float) -> Load:
    """`run`, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.load"]
    done = subprocess.run(
        [*command, str(port), str(folder), str(concurrency), str(seconds)],
        cwd=Path(__file__).resolve().parents[1],
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the load generator ended with exit code {done.returncode}")
    return Load(**json.loads(done.stdout))


def main(port: str, folder: str, concurrency: str, seconds: str) -> None:
    try:
        print(json.dumps(asdict(run(int(port), Path(folder), int(concurrency), float(seconds)))))
    except RuntimeError as error:
        sys.exit(f"a request failed: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
