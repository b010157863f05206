"""What one check has found."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """A problem keeps jobs or endpoints from working; a warning costs speed, or some jobs."""

    check: str
    state: State
    found: str
    fix: str = ""

    def __str__(self) -> str:
        line = f"{self.state:<8} {self.check:<14} {self.found}"
        return line if not self.fix else f"{line}\n{'':<24}fix: {self.fix}"


def ok(check: str, found: str) -> Finding:
    return Finding(check, "ok", found)


def warning(check: str, found: str, fix: str) -> Finding:
    return Finding(check, "warning", found, fix)


def problem(check: str, found: str, fix: str) -> Finding:
    return Finding(check, "problem", found, fix)
