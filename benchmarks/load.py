"""The load generator: one connection per thread, each asks again as soon as it has its answer.

    python -m benchmarks.load PORT FOLDER CONCURRENCY SECONDS

A process of its own with nothing but the standard library, so that it takes little of what it
measures; it shares the processors with the server all the same, and says how much it took. Every
body differs, by a comment in the JPEG, so that no cache can answer; the pixels to decode stay.
"""

import http.client
import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.load import distinct

HOST = "127.0.0.1"
HEADERS = {"Content-Type": "image/jpeg", "Accept": "application/json"}
TIMEOUT_SECONDS = 120


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
    latencies: list[float] = []
    failures: list[str] = []
    run_id = time.time_ns()
    start, used_before = time.perf_counter(), time.process_time()

    def ask(thread: int) -> None:
        connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_SECONDS)
        count = thread
        # at least one answer each, however slow the server is
        while True:
            body = distinct(photos[count % len(photos)], f"{run_id}-{thread}-{count}")
            count += 1
            sent = time.perf_counter()
            connection.request("POST", "/invocations", body, HEADERS)
            answer = connection.getresponse()
            text = answer.read()
            now = time.perf_counter()
            if answer.status != 200 or b'"probability"' not in text:
                raise RuntimeError(f"HTTP {answer.status}: {text[:200]!r}")
            latencies.append(1000 * (now - sent))
            if failures or now - start >= seconds:
                connection.close()
                return

    def guarded(thread: int) -> None:
        try:
            ask(thread)
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            failures.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(failures[0])
    used = time.process_time() - used_before
    return Load(time.perf_counter() - start, latencies, used)


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
