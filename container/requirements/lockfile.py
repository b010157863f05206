"""Reads the lock files: which version of what, and the lines that pip needs for it."""

import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PIN = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[\w.+!-]+)(?: ; (?P<marker>[^\\]+?))?(?: \\)?$")
HASH = re.compile(r" *\\\n +--hash=\S+")


@dataclass(frozen=True)
class Pin:
    name: str
    version: str
    marker: str
    block: str

    def with_hash(self, sha256: str) -> str:
        """The lines for pip, with this hash in place of those that the lock has."""
        return f"{HASH.sub('', self.block)} \\\n    --hash=sha256:{sha256}"


def pins(*locks: str) -> list[Pin]:
    """What these locks hold; a package that differs between versions of Python stands twice."""
    found = []
    for lock in locks:
        for block in re.split(r"\n(?=\S)", (HERE / f"{lock}.txt").read_text().strip()):
            if match := PIN.match(block.splitlines()[0]):
                found.append(Pin(match["name"], match["version"], match["marker"] or "", block))
    return found


def direct(name: str) -> list[str]:
    """The packages that `name`.in asks for."""
    lines = (HERE / f"{name}.in").read_text().splitlines()
    return [match[0] for line in lines if (match := re.match(r"[\w.-]+", line))]
