"""A whole job and an endpoint at a tiny size, as the platform starts them, without a network."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from doctor.check import Finding, ok, problem

JOB_SECONDS, START_SECONDS, STOP_SECONDS = 300.0, 120.0, 30.0
PER_CLASS = 8
SIDE = 32
CHOSEN = {
    "network": "small_cnn", "pretrained": "false", "fine_tune": "all", "image_size": str(SIDE),
    "epochs": "1", "batch_size": "8",
}  # fmt: skip
COLOURS = {"blue": (40, 60, 220), "red": (220, 50, 40)}
NO_WAY_OUT = {name: "http://127.0.0.1:9" for name in ("HTTP_PROXY", "HTTPS_PROXY", "https_proxy")}
"""Whatever would load something from elsewhere fails at once."""


def rehearse() -> Iterator[Finding]:
    with tempfile.TemporaryDirectory(prefix="doctor-") as scratch:
        base = Path(scratch)
        prepare(base)
        trained = job(base)
        yield trained
        if trained.state == "ok":
            yield endpoint(base)


def prepare(base: Path) -> None:
    config = base / "input" / "config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps(CHOSEN))
    random = np.random.default_rng(0)
    for split in ("train", "validation"):
        for label, colour in COLOURS.items():
            folder = base / "input" / "data" / split / label
            folder.mkdir(parents=True)
            for at in range(PER_CLASS):
                (folder / f"{at}.jpg").write_bytes(photo(colour, random))


def photo(colour: tuple[int, int, int], random: np.random.Generator) -> bytes:
    pixels = np.clip(np.array(colour) + random.normal(0, 25, (SIDE, SIDE, 3)), 0, 255)
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


def command(word: str, base: Path, **more: str) -> tuple[list[str], dict[str, str]]:
    environment = {**os.environ, **NO_WAY_OUT, "SAGEMAKER_BASE_DIR": str(base), **more}
    return [sys.executable, "-P", "-m", "container.entrypoint", word], environment


def job(base: Path) -> Finding:
    words, environment = command("train", base)
    started = time.monotonic()
    try:
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=JOB_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return problem("job", f"a tiny job did not end within {JOB_SECONDS:.0f} s",
                       "run `train` by hand and look at its log")  # fmt: skip
    seconds = time.monotonic() - started
    reason = base / "output" / "failure"
    if done.returncode or not (base / "model" / "model.json").is_file():
        said = reason.read_text() if reason.is_file() else done.stderr.strip()[-300:]
        cause, _, fix = (said.splitlines() or ["no reason"])[0].partition("; fix: ")
        return problem("job", f"a tiny job ended with {done.returncode}: {cause}",
                       fix or "run `train` by hand and look at its log")  # fmt: skip
    return ok("job", f"a tiny job took {seconds:.1f} s, and its model answers")


def endpoint(base: Path) -> Finding:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words, environment = command("serve", base, SAGEMAKER_BIND_TO_PORT=str(port))
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(words, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            why = _wait(process, port) or _ask(port)
            ready = time.monotonic() - started
        finally:
            why = why if (late := _stop(process)) is None else late
        if why:
            log.seek(0)
            last = (log.read().strip().splitlines() or ["no word"])[-1]
            return problem("endpoint", f"{why}; it said: {last:.200}",
                           "run `serve` by hand and look at its log")  # fmt: skip
    return ok("endpoint", f"green and answering after {ready:.1f} s, gone at SIGTERM")


def _url(port: int, path: str) -> str:
    return f"http://127.0.0.1:{port}/{path}"


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _wait(process: "subprocess.Popen[bytes]", port: int) -> str:
    """What is wrong, or nothing once /ping is green."""
    deadline, last = time.monotonic() + START_SECONDS, "nobody answers"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return f"the server ended with {process.returncode}"
        try:
            with _DIRECT.open(_url(port, "ping"), timeout=2) as answer:
                if answer.status == 200:
                    return ""
        except urllib.error.HTTPError as error:
            last = f"/ping is {error.code}: {error.read(200).decode('utf-8', 'replace')}"
        except OSError as error:
            last = str(error)
        time.sleep(0.05)
    return f"not green within {START_SECONDS:.0f} s: {last}"


def _ask(port: int) -> str:
    body = photo(COLOURS["red"], np.random.default_rng(1))
    request = urllib.request.Request(
        _url(port, "invocations"), body, {"Content-Type": "image/jpeg"}
    )
    try:
        with _DIRECT.open(request, timeout=60) as answer:
            label = json.load(answer)["predictions"][0]["label"]
    except (OSError, ValueError, KeyError, IndexError) as error:
        return f"/invocations: {error}"
    return "" if label in COLOURS else f"/invocations answered {label!r}"


def _stop(process: "subprocess.Popen[bytes]") -> str | None:
    if process.poll() is not None:
        return None
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return f"still there {STOP_SECONDS:.0f} s after SIGTERM, when the platform kills it"
    return None
