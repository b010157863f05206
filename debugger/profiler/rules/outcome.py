"""How a rule says what it found; its name and parameters are filled in by who asked it."""

from typing import Any

from debugger.verdict import Status, Sureness, Verdict


def issue(
    reason: str,
    advice: str,
    *,
    gain: str = "",
    sureness: Sureness = Sureness.LIKELY,
    times: int = 1,
    looked_at: int,
    details: dict[str, Any] | None = None,
) -> Verdict:
    return Verdict(
        rule="", status=Status.ISSUES_FOUND, reason=reason, advice=advice, gain=gain,
        sureness=sureness, times=times, looked_at=looked_at, details=details or {},
    )  # fmt: skip


def fine(reason: str, *, looked_at: int, details: dict[str, Any] | None = None) -> Verdict:
    return Verdict(
        rule="", status=Status.NO_ISSUES_FOUND, reason=reason, sureness=Sureness.LIKELY,
        looked_at=looked_at, details=details or {},
    )  # fmt: skip


def absent(reason: str, *, looked_at: int = 0) -> Verdict:
    """Nothing to look at, or not enough of it."""
    return Verdict(
        rule="", status=Status.NOT_APPLICABLE, reason=reason, sureness=Sureness.CERTAIN,
        looked_at=looked_at,
    )  # fmt: skip


def too_few(points: int, needed: float, what: str = "points") -> Verdict:
    """`needed` is what the number must exceed."""
    return absent(
        f"{points} {what} were measured and the rule judges from more than {needed:g} on: a longer "
        "run or a smaller profiler_interval_ms has them",
        looked_at=points,
    )


NO_GPU = "no GPU was measured: the rule is about GPUs"
"""On a job that has one, nvidia-ml-py or its driver was missing."""
