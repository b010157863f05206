"""Writes the lock files beside it from the `.in` files: every version and hash, for every platform.

    python container/requirements/lock.py

One resolution covers all of them, so that no two locks disagree. What only torch pulls in stands in
`torch.txt`, because another index (`TORCH_INDEX`) has other builds of it; `torch-needs.txt` is the
part of it that every build needs, whatever the index. `serve.txt` is a part of `app.txt`: all that
the slim image installs. The two
lines of the SDK, each in an environment of its own, are locked apart beside their examples, and so
are the servers that benchmarks compare with.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = HERE.parents[1] / "benchmarks" / "peers"
SDK = HERE.parents[1] / "local_test" / "sdk"
PYTHON = "3.11"
HARDWARE = re.compile(r"^(torch|torchvision|triton|nvidia-(?!ml-py).*|cuda-.*)$")
"""Packages of torch's CUDA build, and the builds themselves."""


def resolve(*names: str, constraints: Path | None = None, folder: Path = HERE) -> dict[str, str]:
    """Package name -> its block of the lock: pin, marker and hashes."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal"]
    command += ["--python-version", PYTHON, "--generate-hashes", "--no-header", "--no-annotate"]
    if constraints:
        command += ["--constraint", str(constraints)]
    text = subprocess.run(
        [*command, *(str(folder / f"{name}.in") for name in names)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    blocks: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", text.strip()):
        name = re.split(r"[=<>!~ ;\[@]", block, maxsplit=1)[0]
        # one package may have two blocks, for two ranges of Python
        blocks[name] = f"{blocks[name]}\n{block}" if name in blocks else block
    return blocks


def write(name: str, blocks: dict[str, str], folder: Path = HERE) -> None:
    body = "\n".join(blocks[key] for key in sorted(blocks))
    (folder / f"{name}.txt").write_text(f"# Written by lock.py: edit the .in files.\n{body}\n")


def main() -> None:
    everything = resolve("serve", "app", "torch", "platform", "develop")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(everything.values()))
        file.flush()
        pins = Path(file.name)
        serve = resolve("serve", constraints=pins)
        app = resolve("serve", "app", constraints=pins)
        torch = {
            name: block
            for name, block in resolve("serve", "app", "torch", constraints=pins).items()
            if name not in app
        }
        shared = app.keys() | torch.keys()
        platform = resolve("serve", "app", "torch", "platform", constraints=pins)
        develop = resolve("serve", "app", "torch", "develop", constraints=pins)
        peers = resolve("requirements", constraints=pins, folder=PEERS)
    write("serve", serve)
    write("app", app)
    write("torch", torch)
    write("torch-needs", {k: v for k, v in torch.items() if not HARDWARE.match(k)})
    write("platform", {k: v for k, v in platform.items() if k not in shared})
    write("develop", {k: v for k, v in develop.items() if k not in shared})
    write("build", resolve("build"))
    # they see the packages of the project's own environment, the tests' included
    known = shared | develop.keys()
    write("requirements", {k: v for k, v in peers.items() if k not in known}, PEERS)
    for name in ("requirements-v2", "requirements-v3"):
        write(name, resolve(name, folder=SDK), SDK)


if __name__ == "__main__":
    main()
