"""The main job on this machine, whole: photos -> train -> serve -> labels.

    python local_test/demo.py [--data FOLDER] [--base FOLDER] [--image IMAGE]

Runs the very programs that the image runs, under a base folder of its own instead of /opt/ml; with
`--image` it runs them by `docker run IMAGE` instead.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local_test import photos

PROJECT = Path(__file__).resolve().parents[1]
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
READY_SECONDS = 120
SHOWN = 12

# strings, as the platform delivers them
SMALL = {
    "network": "small_cnn",
    "pretrained": "false",
    "fine_tune": "all",
    "image_size": "64",
    "augmentation": "flip",
    "batch_size": "16",
    "learning_rate": "0.003",
    "epochs": "10",
}
"""A small network learns a small set from scratch in a minute, with no weights to download."""


SHOWN_SETTINGS = {"PAGE": "true", "METRICS_RECORD_SECONDS": "0"}
"""The page for people; no records for machines among what they read."""


def main() -> int:
    options = parse()
    base = options.base.resolve()
    shutil.rmtree(base, ignore_errors=True)
    data = options.data or make_photos(base)
    write_job(base, data, dict(pair.split("=", 1) for pair in options.set))
    print(f"\n== train ({base})", flush=True)
    code = run(program("train", base, data, options.image), base)
    if code:
        print(f"\ntraining failed; the reason is in {base / 'output' / 'failure'}", file=sys.stderr)
        return code
    print("\n== serve", flush=True)
    with server(base, data, options.image) as port:
        missed = classify(sample(data), port)
        if options.keep:
            print(f"\nthe page to try it: http://127.0.0.1:{port}  (Ctrl-C ends it)", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
    print(f"\nmodel     {base / 'model'}")
    print(f"metrics   {base / 'output' / 'data' / 'metrics.jsonl'}")
    print(f"report    {base / 'output' / 'data' / 'report.html'}")
    for picture in sorted((base / "output" / "data").glob("*.png")):
        print(f"picture   {picture}")
    return 1 if missed else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, help="a folder of photos, one folder per class")
    parser.add_argument("--base", type=Path, default=PROJECT / "demo", help="stands for /opt/ml")
    parser.add_argument("--image", help="run the programs of this Docker image")
    parser.add_argument("--keep", action="store_true",
                        help="leave the server up, with its page, until Ctrl-C")  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="a hyperparameter")  # fmt: skip
    options = parser.parse_args()
    if options.data is not None:
        options.data = options.data.expanduser().resolve()
        if not options.data.is_dir():
            parser.error(f"--data {options.data} is not a folder")
    for pair in options.set:
        if "=" not in pair:
            parser.error(f"--set {pair}: expected NAME=VALUE")
    return options


def make_photos(base: Path) -> Path:
    data = base / "photos"
    photos.make(data, per_class=150)
    print(f"made photos of {', '.join(photos.CLASSES)} in {data}")
    return data


def write_job(base: Path, data: Path, chosen: dict[str, str]) -> None:
    """The platform's tree: configuration, and the channel as a link to the data."""
    config = base / "input" / "config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps({**SMALL, **chosen}))
    channels = base / "input" / "data"
    channels.mkdir(parents=True)
    (channels / "training").symlink_to(data, target_is_directory=True)
    (base / "model").mkdir()
    (base / "output").mkdir()


def program(word: str, base: Path, data: Path, image: str | None, port: int = 0) -> list[str]:
    if image is None:
        return [sys.executable, "-m", "container.entrypoint", word]
    mounts = ["-v", f"{base}:/opt/ml", "-v", f"{data}:/opt/ml/input/data/training:ro"]
    if word == "serve":
        mounts = ["-v", f"{base / 'model'}:/opt/ml/model:ro", "-p", f"127.0.0.1:{port}:8080"]
        mounts += [f"--env={name}={value}" for name, value in SHOWN_SETTINGS.items()]
    user = f"{os.getuid()}:{os.getgid()}"
    return ["docker", "run", "--rm", "--init=false", "--user", user, *mounts, image, word]


def environment(base: Path, port: int = 0) -> dict[str, str]:
    mine = {
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        **SHOWN_SETTINGS,
    }
    return {**os.environ, **mine, "PYTHONPATH": str(PROJECT)}


def run(command: list[str], base: Path) -> int:
    return subprocess.run(command, env=environment(base), cwd=PROJECT).returncode


@contextlib.contextmanager
def server(base: Path, data: Path, image: str | None) -> Iterator[int]:
    """A running server's port; stopped as the platform stops it."""
    port = free_port()
    started = time.monotonic()
    process = subprocess.Popen(
        program("serve", base, data, image, port), env=environment(base, port), cwd=PROJECT
    )
    try:
        wait_until_ready(process, port)
        print(f"ready after {time.monotonic() - started:.1f} s on port {port}\n", flush=True)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def wait_until_ready(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    url = f"http://127.0.0.1:{port}/ping"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with exit code {process.returncode}")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    raise SystemExit(f"the server was not ready within {READY_SECONDS} s")


def sample(data: Path) -> list[Path]:
    """Photos of every class, from the test split where there is one."""
    folder = next((data / name for name in ("test", "val", "valid", "validation")
                   if (data / name).is_dir()), data)  # fmt: skip
    by_class: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            by_class.setdefault(path.parent.name, []).append(path)
    each = max(1, SHOWN // max(1, len(by_class)))
    return [path for paths in by_class.values() for path in paths[:each]][:SHOWN]


def classify(paths: list[Path], port: int) -> int:
    """Prints a table; returns how many photos got no answer."""
    width = max(len(path.name) for path in paths)
    print(f"{'photo':<{width}}  {'true label':<12}  top 3")
    missed = 0
    for path in paths:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations?top_k=3",
            data=path.read_bytes(),
            headers={"Content-Type": "application/x-image"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                top: list[dict[str, Any]] = json.load(answer)["predictions"][0]["top_k"]
        except urllib.error.HTTPError as error:
            missed += 1
            print(f"{path.name:<{width}}  {path.parent.name:<12}  {error.read().decode()[:200]}")
            continue
        cells = ", ".join(f"{one['label']} {one['probability']:.1%}" for one in top)
        print(f"{path.name:<{width}}  {path.parent.name:<12}  {cells}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
