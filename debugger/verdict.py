"""What a rule found: one record, the same for rules about tensors, about time and about machines.

Verdicts are what tables, pages, `verdicts.json` and live actions read; a rule writes nothing else.
"""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

MOST_NAMED = 20
"""Tensors and steps that a verdict names; it counts the rest."""


class Status(StrEnum):
    """The platform's own words, and one of ours: what was not looked at is not healthy."""

    ISSUES_FOUND = "IssuesFound"
    NO_ISSUES_FOUND = "NoIssuesFound"
    NOT_APPLICABLE = "NotApplicable"
    """Nothing that the rule looks at was there; `reason` says what is missing, how to have it."""
    ERROR = "Error"
    """The rule itself failed; `reason` has the error."""


class Sureness(StrEnum):
    """How often a finding of this kind is one."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Everything a reader needs to act on one rule's finding."""

    rule: str
    """Documented name in lower case with underscores, such as `vanishing_gradient`."""
    status: Status
    reason: str
    """One sentence with the values that decided it."""
    advice: str = ""
    """What to change, as a hyperparameter or setting with its value; empty without an issue."""
    gain: str = ""
    """What that is expected to bring, with its arithmetic; empty where nobody can say."""
    sureness: Sureness = Sureness.LIKELY
    times: int = 0
    """How often the rule fired."""
    looked_at: int = 0
    """Steps, or points of measurement, that the rule looked at."""
    steps: list[int] = field(default_factory=list)
    """Global steps at which it fired, the first MOST_NAMED."""
    tensors: list[str] = field(default_factory=list)
    """Names of those it fired for, the worst first, at most MOST_NAMED."""
    parameters: dict[str, str] = field(default_factory=dict)
    """The rule's, as they were used."""
    details: dict[str, Any] = field(default_factory=dict)
    """Numbers behind the reason, JSON only; documented by each rule."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
