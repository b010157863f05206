"""A batch transform job over a folder, against a server on this machine: the platform's part of it.

Reads every file below DATA, posts it, and writes the answer to OUT under the same name and `.out`.
What the platform does is done here: a job asks /execution-parameters, options come first; a file
larger than the payload, or one whose answer is no 200 after the retries, has no output, the others
go on, and the job has failed. Standard library only.

`--split line` cuts files into lines, put together again up to the payload with multi-record.
"""

import argparse
import http.client
import json
import queue
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

MIB = 1 << 20
RETRIES = 3
"""The platform's default of InvocationsMaxRetries."""
DEFAULTS = {"MaxConcurrentTransforms": 1, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6}
"""The platform's, where neither the request nor the container says anything."""
BAR_CELLS = 30


class RecordError(Exception):
    """No 200; the message is the failed record's line in the summary."""


@dataclass(frozen=True)
class Job:
    data: Path
    out: Path
    address: tuple[str, int]
    content_type: str
    accept: str
    split_lines: bool
    multi_record: bool
    payload_bytes: int
    concurrent: int
    seconds: float


@dataclass(frozen=True)
class Failed:
    name: str
    reason: str


class Progress:
    """A bar that redraws itself on a terminal; a line every tenth part elsewhere."""

    def __init__(self, total: int, stream: TextIO) -> None:
        self._total, self._stream = total, stream
        self._done = self._failed = self._said = 0
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def step(self, good: bool) -> None:
        with self._lock:
            self._done += 1
            self._failed += not good
            tenth = 10 * self._done // self._total
            if self._stream.isatty():
                print(f"\r{self._text()}", end="", file=self._stream, flush=True)
            elif tenth > self._said:
                self._said = tenth
                print(self._text(), file=self._stream, flush=True)

    def end(self) -> None:
        if self._stream.isatty():
            print(file=self._stream)

    def _text(self) -> str:
        filled = BAR_CELLS * self._done // self._total
        rate = self._done / max(0.001, time.monotonic() - self._began)
        bar = "#" * filled + "-" * (BAR_CELLS - filled)
        return (
            f"[{bar}] {self._done:>{len(str(self._total))}}/{self._total}  {rate:6.1f}/s  "
            f"{self._failed} failed"
        )


class Client:
    """One connection of one thread, opened again where it broke."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._connection = http.client.HTTPConnection(*job.address, timeout=job.seconds)

    def invoke(self, body: bytes) -> bytes:
        """Raises RecordError after the retries of what may succeed later, at once for the rest."""
        headers = {"Content-Type": self._job.content_type, "Accept": self._job.accept}
        for left in range(RETRIES, -1, -1):
            try:
                self._connection.request("POST", "/invocations", body, headers)
                response = self._connection.getresponse()
                status, answer = response.status, response.read()
                wait = float(response.headers.get("Retry-After", 1))
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                status, wait, answer = 0, 1.0, f"{type(error).__name__}: {error}".encode()
            if status == 200:
                return answer
            if 400 <= status < 500 or not left:
                raise RecordError(f"HTTP {status or '---'}: {_message(answer)}")
            time.sleep(wait)
        raise AssertionError

    def close(self) -> None:
        self._connection.close()


def _message(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return answer.decode("utf-8", "replace")[:200] or "no answer"


def transform(job: Job, name: str, client: Client) -> None:
    """One file to its output. Raises RecordError; there is no output then."""
    answers = []
    for record in records(job, job.data / name):
        answers.append(client.invoke(record))
    target = job.out / f"{name}.out"
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}")
    with partial.open("wb") as file:
        for answer in answers:
            file.write(answer)
            if job.split_lines and not answer.endswith(b"\n"):
                file.write(b"\n")  # AssembleWith: Line
    partial.rename(target)


def records(job: Job, path: Path) -> Iterator[bytes]:
    """The bodies to send for a file. Raises RecordError where one is larger than the payload."""
    if not job.split_lines:
        if path.stat().st_size > job.payload_bytes:
            raise RecordError(_larger(path.stat().st_size, job))
        yield path.read_bytes()
        return
    held: list[bytes] = []
    size = 0
    with path.open("rb") as file:
        for line in file:
            if len(line) > job.payload_bytes:
                raise RecordError(_larger(len(line), job))
            if held and (not job.multi_record or size + len(line) > job.payload_bytes):
                yield b"".join(held)
                held, size = [], 0
            held.append(line)
            size += len(line)
    if held:
        yield b"".join(held)


def _larger(size: int, job: Job) -> str:
    return f"{size:,} bytes, and the payload is at most {job.payload_bytes:,}"


def run(job: Job, stream: TextIO = sys.stderr) -> tuple[int, list[Failed]]:
    """How many files there were, and those without an output, by name."""
    names = sorted(
        str(path.relative_to(job.data))
        for path in job.data.rglob("*")
        if path.is_file() and job.out not in path.parents
    )
    progress = Progress(len(names), stream)
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name in names:
        waiting.put(name)
    failed: list[Failed] = []

    def work() -> None:
        client = Client(job)
        while True:
            try:
                name = waiting.get_nowait()
            except queue.Empty:
                return client.close()
            try:
                transform(job, name, client)
                progress.step(good=True)
            except (RecordError, OSError) as error:
                failed.append(Failed(name, str(error)))
                progress.step(good=False)

    _side_by_side(work, min(job.concurrent, len(names)))
    progress.end()
    return len(names), sorted(failed, key=lambda each: each.name)


def _side_by_side(work: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def execution_parameters(address: tuple[str, int]) -> dict[str, Any]:
    """The container's own, over the platform's defaults; a container need not have any."""
    connection = http.client.HTTPConnection(*address, timeout=10)
    try:
        connection.request("GET", "/execution-parameters")
        response = connection.getresponse()
        body = response.read()
        return DEFAULTS | (json.loads(body) if response.status == 200 else {})
    finally:
        connection.close()


def read_job(arguments: list[str]) -> Job:
    parser = argparse.ArgumentParser(prog="batch_transform", description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of photos, or of files of JSON Lines")
    parser.add_argument("out", type=Path, help="folder for the .out files")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--content-type", default="application/x-image")
    parser.add_argument("--accept", default="application/jsonlines")
    parser.add_argument("--split", choices=("none", "line"), default="none")
    parser.add_argument("--strategy", choices=("single-record", "multi-record"))
    parser.add_argument("--max-payload", type=int, metavar="MB", help="0 is no limit")
    parser.add_argument("--max-concurrent", type=int, metavar="REQUESTS")
    parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS")
    given = parser.parse_args(arguments)
    if not given.data.is_dir():
        parser.error(f"{str(given.data)!r} is no folder")
    parts = urllib.parse.urlsplit(given.url)
    address = (parts.hostname or "127.0.0.1", parts.port or 80)
    asked = execution_parameters(address)
    if given.max_payload is not None:
        asked["MaxPayloadInMB"] = given.max_payload
    if given.max_concurrent is not None:
        asked["MaxConcurrentTransforms"] = given.max_concurrent
    if given.strategy is not None:
        asked["BatchStrategy"] = given.strategy.replace("-", "_").upper()
    if asked["MaxPayloadInMB"] * asked["MaxConcurrentTransforms"] > 100:
        parser.error("payload times requests at a time is more than 100 MB: no job may have that")
    print(" ".join(f"{key}={value}" for key, value in asked.items()), file=sys.stderr)
    return Job(
        data=given.data,
        out=given.out,
        address=address,
        content_type=given.content_type,
        accept=given.accept,
        split_lines=given.split == "line",
        multi_record=asked["BatchStrategy"] == "MULTI_RECORD",
        payload_bytes=(asked["MaxPayloadInMB"] or 1 << 20) * MIB,
        concurrent=max(1, asked["MaxConcurrentTransforms"]),
        seconds=given.timeout,
    )


def main() -> int:
    job = read_job(sys.argv[1:])
    count, failed = run(job)
    for each in failed:
        print(f"failed: {each.name}: {each.reason}")
    print(f"{count - len(failed)} of {count} files have an output in {job.out}")
    return 1 if failed or not count else 0


if __name__ == "__main__":
    sys.exit(main())
