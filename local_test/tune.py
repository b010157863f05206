"""A search on this machine: photos -> trials -> the best model, as `docker run IMAGE tune` does it.

    python -m local_test.tune [--data FOLDER] [--spec FILE] [--base FOLDER] [--image IMAGE]

The base folder stays: the same command goes on where an earlier one was stopped or killed.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from local_test import demo

SPEC = Path(__file__).with_name("tuning.json")


def main() -> int:
    options = parse()
    base = options.base.resolve()
    data = options.data or made_photos(base)
    prepare(base, data, options.spec)
    print(f"\n== tune ({base})", flush=True)
    code = run(base, data, options.image)
    if code:
        print(f"\nthe reason is in {base / 'output' / 'failure'}", file=sys.stderr)
    return code


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, help="a folder of photos, one folder per class")
    parser.add_argument("--spec", type=Path, default=SPEC, help=f"default {SPEC.name}")
    parser.add_argument("--base", type=Path, default=demo.PROJECT / "tuning",
                        help="stands for /opt/ml")  # fmt: skip
    parser.add_argument("--image", help="run the program of this Docker image")
    options = parser.parse_args()
    if options.data is not None:
        options.data = options.data.expanduser().resolve()
        if not options.data.is_dir():
            parser.error(f"--data {options.data} is not a folder")
    if not options.spec.is_file():
        parser.error(f"--spec {options.spec} is not a file")
    return options


def made_photos(base: Path) -> Path:
    data = base / "photos"
    return data if data.is_dir() else demo.make_photos(base)


def prepare(base: Path, data: Path, spec: Path) -> None:
    config, channels = base / "input" / "config", base / "input" / "data"
    for folder in (config, channels, base / "model", base / "output"):
        folder.mkdir(parents=True, exist_ok=True)
    (config / "tuning.json").write_bytes(spec.read_bytes())
    link = channels / "training"
    if link.is_symlink() and link.resolve() != data:
        sys.exit(f"{base} holds a search over {link.resolve()}; name another folder by --base")
    if not link.is_symlink():
        link.symlink_to(data, target_is_directory=True)


def run(base: Path, data: Path, image: str | None) -> int:
    command = demo.program("tune", base, data, image)
    return subprocess.run(command, env=demo.environment(base)).returncode


if __name__ == "__main__":
    sys.exit(main())
