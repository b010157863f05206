"""The image's first process: one word -> that program, in place of this one.

`execvp` and no shell, so that the program is the process that the platform's SIGTERM reaches.
"""

import os
import sys
from pathlib import Path

GUNICORN_CONFIG = Path(__file__).with_name("gunicorn.conf.py")
PROGRAM = Path(__file__).resolve().parents[1]

# -P: the folder that the container was started in may hold a train.py of the user's
PROGRAMS: dict[str, tuple[str, list[str]]] = {
    "train": (
        "trains a classifier on the photos in /opt/ml/input/data",
        [sys.executable, "-P", "-m", "container.supervisor", "train"],
    ),
    "tune": (
        "searches hyperparameters as /opt/ml/input/config/tuning.json asks for",
        [sys.executable, "-P", "-m", "container.supervisor", "tune"],
    ),
    "diagnose": (
        "runs the rules over a job's output: diagnose [FOLDER or s3://...] [--rules a,b] ...",
        [sys.executable, "-P", "-m", "debugger"],
    ),
    "describe": (
        "prints metrics, ranges, channels and types as JSON",
        [sys.executable, "-P", "-m", "describe"],
    ),
    "doctor": (
        "checks this image and this machine against what the platform asks of both",
        [sys.executable, "-P", "-m", "doctor"],
    ),
    "export": (
        "gives the model in /opt/ml/model a compiled engine, with photos in /opt/ml/input/data",
        [sys.executable, "-P", "-m", "train.compiled.add"],
    ),
    "bench": (
        "measures the model in /opt/ml/model: images/s by requests at a time: bench [--help] ...",
        [sys.executable, "-P", "-m", "bench"],
    ),
    "serve": (
        "serves the model in /opt/ml/model on port 8080",
        [
            sys.executable,
            "-P",
            "-m",
            "gunicorn",
            "-c",
            str(GUNICORN_CONFIG),
            "serve.boot:create_app()",
        ],
    ),
}


NEEDS = {
    "train": "train",
    "tune": "tune",
    "diagnose": "debugger",
    "describe": "describe",
    "doctor": "doctor",
    "export": "train",
}
"""Program -> the folder of code that it is; the slim image has those of `serve` and `bench`."""

TAKE_ARGUMENTS = ("diagnose", "bench")
"""The others read a job or settings, as the platform gives them; their words would go unheard."""


def usage() -> str:
    lines = [f"  {name:<10}{meaning}" for name, (meaning, _) in PROGRAMS.items()]
    return "\n".join(["usage: docker run IMAGE PROGRAM, where PROGRAM is one of", *lines])


def main(arguments: list[str]) -> None:
    word = arguments[0] if arguments else ""
    extra = len(arguments) > 1 and word not in TAKE_ARGUMENTS
    if extra or word not in PROGRAMS:
        said = f"unknown program {word!r}" if word not in PROGRAMS else f"{word} takes no arguments"
        print(f"{said}\n{usage()}", file=sys.stderr)
        sys.exit(2)
    if not (PROGRAM / NEEDS.get(word, "serve")).is_dir():
        print(f"{word} is not in this image, which serves and does nothing else", file=sys.stderr)
        sys.exit(2)
    command = [*PROGRAMS[word][1], *arguments[1:]]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
