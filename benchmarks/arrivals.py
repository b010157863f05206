"""The clients of an overload: requests arrive at a rate, whether earlier ones are answered or not.

    python -m benchmarks.arrivals PORT FOLDER RATE SECONDS WARM_UP

One thread of a process of its own; a request takes a kept connection that is free, or a new one.
Answers that come in the SECONDS behind WARM_UP count, WARM_UP being the time in which queues fill.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.client import HOST
from bench.load import distinct

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Arrivals:
    asked: float
    """Requests a second that arrived; less than the rate where this process was too slow."""
    statuses: dict[str, int]
    """Answers that came while it was counted, by status; "lost" is a connection without one."""
    latencies_ms: list[float]
    """Of those that were predictions."""
    seconds: float
    cpu_seconds: float


async def run(port: int, photos: list[bytes], rate: float, seconds: float, warm: float) -> Arrivals:
    free: list[Connection] = []
    answers: list[tuple[float, str, float]] = []
    tasks = set()
    run_id, used, start = time.time_ns(), time.process_time(), time.perf_counter()
    count = 0

    async def ask(number: int) -> None:
        sent = time.perf_counter()
        status = "lost"
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError):
            known = free.pop() if free else await asyncio.open_connection(HOST, port)
            status = await exchange(
                known, distinct(photos[number % len(photos)], f"{run_id}-{number}")
            )
            free.append(known)
        now = time.perf_counter()
        answers.append((now - start, status, now - sent))

    while (now := time.perf_counter() - start) < warm + seconds:
        while count < now * rate:
            task = asyncio.create_task(ask(count))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            count += 1
        await asyncio.sleep(max(0.0, count / rate - (time.perf_counter() - start)))
    took = time.perf_counter() - start
    for task in tasks:
        task.cancel()
    counted = [each for each in answers if warm <= each[0] < warm + seconds]
    return Arrivals(
        asked=count / took,
        statuses=dict(Counter(status for _, status, _ in counted)),
        latencies_ms=[1000 * each for _, status, each in counted if status == "200"],
        seconds=seconds,
        cpu_seconds=time.process_time() - used,
    )


async def exchange(known: Connection, body: bytes) -> str:
    """The status of the answer."""
    reader, writer = known
    head = f"POST /invocations HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: image/jpeg\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()
    answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    length = next(line for line in answer.lower().splitlines() if line.startswith("content-length"))
    await reader.readexactly(int(length.partition(":")[2]))
    return answer.split()[1]


def in_process(port: int, folder: Path, rate: float, seconds: float, warm: float) -> Arrivals:
    """`run`, in a fresh process."""
    words = [str(each) for each in (port, folder, rate, seconds, warm)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.arrivals", *words],
        cwd=Path(__file__).resolve().parents[1],
        stdout=subprocess.PIPE,
        check=True,
    )
    return Arrivals(**json.loads(done.stdout))


def main(port: str, folder: str, rate: str, seconds: str, warm: str) -> None:
    photos = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    numbers = (float(rate), float(seconds), float(warm))
    print(json.dumps(asdict(asyncio.run(run(int(port), photos, *numbers)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
