"""What our rules have in common, over smdebug's own `Rule`: parameters, looking, and a verdict.

A rule is asked once per saved step, in their order, and keeps what it needs of earlier ones
itself. Silence is not health: a rule that has looked at nothing says so (`NotApplicable`).
"""

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from debugger.evidence import Evidence
from debugger.reader import Rule, SMDebugError
from debugger.rules.parameters import Parameter, read, written
from debugger.verdict import MOST_NAMED, Status, Sureness, Verdict

COLLECTIONS = {
    "weights": r"^(?!gradient).*weight",
    "biases": r"^(?!gradient).*bias",
    "gradients": r"^gradient",
    "losses": r"[Ll]oss_(?!input).*output",
}
"""smdebug's regexes for PyTorch, for folders whose collections were saved by a regex alone."""

GRADIENT = "gradient/"
LOGITS = r"CrossEntropyLoss_input_0$"
TARGETS = r"CrossEntropyLoss_input_1$"
"""The loss module's inputs: PyTorch's names for what other frameworks save as predictions, labels.
"""
NETWORK_INPUT = r"^(?!.*[Ll]oss)(?!gradient)[A-Z][A-Za-z0-9]*_input_0$"
"""Of the root module, which smdebug calls after its class: `ResNet_input_0`."""

Array = NDArray[Any]

TRAIN, EVAL = "TRAIN", "EVAL"


@dataclass
class Fired:
    """What is kept of a tensor that a rule has fired for."""

    first: int
    times: int
    worst: float
    words: str
    """Of the worst time."""


@dataclass(frozen=True)
class Finding:
    """Why a rule fired, in words."""

    reason: str
    advice: str
    gain: str = ""
    sureness: Sureness = Sureness.LIKELY
    details: dict[str, Any] = field(default_factory=dict)


class TensorRule(Rule):  # type: ignore[misc]
    """Subclasses declare what they are, look at one step, and put a finding into words."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """One line for tables."""
    parameters: ClassVar[dict[str, Parameter]] = {}
    saves: ClassVar[tuple[str, ...]] = ()
    """Collections that it needs to be saved."""
    cheap: ClassVar[bool] = True
    """Whether `rules=all` has what it needs saved; outputs of layers are large."""
    at_end: ClassVar[bool] = False
    """Whether it can only be judged when everything has been seen."""

    def __init__(
        self,
        base_trial: Any,
        action_str: str = "",
        other_trials: list[Any] | None = None,
        **given: Any,
    ) -> None:
        """Raises ValueError where a parameter is unknown or of the wrong kind."""
        super().__init__(base_trial, action_str, other_trials)
        self.chosen = read(self.parameters, given)
        self.evidence = Evidence()
        self.looked_at = 0
        self.fired: dict[str, Fired] = {}
        self.steps: list[int] = []
        self.times = 0
        self._looked: int | None = None
        self._fired_at: int | None = None
        self._now = False
        self._member: dict[tuple[str, ...], dict[str, bool]] = {}
        lines = written(self.parameters, self.chosen).items()
        self.report["RuleParameters"] = "\n".join(f"{name}:{value}" for name, value in lines)
        self.begin()

    def begin(self) -> None:
        """What a subclass keeps from step to step; its parameters are read by now."""

    # what a subclass says

    @abstractmethod
    def look(self, step: int) -> None:
        """At what was saved at a global step; calls `seen` and `fire`."""

    @abstractmethod
    def finding(self) -> Finding:
        """After it has fired."""

    def conclude(self) -> None:
        """At the end of all steps; may fire, too."""

    def unready(self) -> str:
        """Why what was looked at is not enough to judge by; empty where it is."""
        return ""

    def healthy(self) -> str:
        return f"nothing found in {self.looked_at} steps"

    def missing(self) -> str:
        """What was not there, and how to have it."""
        none = "none of the saved tensors is one that it looks at"
        have = none if self._names() else "no tensors were saved"
        return f"{have}; set debug_collections={','.join(self.saves)}"

    # what a subclass calls

    def seen(self, step: int) -> None:
        """Something that the rule looks at was there at this step."""
        if self._looked != step:
            self._looked = step
            self.looked_at += 1

    def fire(self, step: int, tensor: str, badness: float, words: str) -> None:
        """`badness` ranks tensors: the largest is the worst."""
        self._now = True
        known = self.fired.get(tensor)
        if known is None:
            self.fired[tensor] = Fired(step, 1, badness, words)
        else:
            known.times += 1
            if badness > known.worst:
                known.worst, known.words = badness, words
        if step != self._fired_at:
            self._fired_at = step
            self.times += 1
            if len(self.steps) < MOST_NAMED:
                self.steps.append(step)

    def matching(
        self, step: int, collections: Iterable[str] = (), *regexes: str | None
    ) -> Iterator[str]:
        """Names saved at this step that are in one of the collections or match a regex; all names
        where neither is given."""
        collections = tuple(collections)
        patterns = tuple(regex for regex in regexes if regex)
        known = self._member.setdefault((*collections, "|", *patterns), {})
        for name in self.base_trial.tensor_names(step=step):
            if name not in known:
                known[name] = self._is_member(name, collections, patterns)
            if known[name]:
                yield name

    def _is_member(
        self, name: str, collections: tuple[str, ...], patterns: tuple[str, ...]
    ) -> bool:
        if not collections and not patterns:
            return True
        if any(re.search(pattern, name) for pattern in patterns):
            return True
        for collection in collections:
            made = self.base_trial.collections().get(collection)
            if made is not None and (
                name in made.tensor_names
                or any(re.search(regex, name) for regex in made.include_regex)
            ):
                return True
            if collection in COLLECTIONS and re.search(COLLECTIONS[collection], name):
                return True
        return False

    def value(self, name: str, step: int) -> Array | None:
        """None where it was not saved whole at this step, or cannot be read."""
        try:
            return np.asarray(self.base_trial.tensor(name).value(step))
        except SMDebugError:
            return None

    def reduced(self, name: str, step: int, reduction: str, absolute: bool = False) -> float | None:
        """A reduction: the saved one, else computed; None where neither can be had."""
        try:
            made = self.base_trial.tensor(name).reduction_value(step, reduction, abs=absolute)
        except (SMDebugError, ValueError):
            return None
        return None if made is None else float(np.asarray(made).reshape(-1)[0])

    def mode(self, step: int) -> str:
        """`TRAIN`, `EVAL`, `PREDICT`, or `GLOBAL` where the job did not say."""
        mode = self.base_trial.mode(step)
        return mode.name if mode is not None else "GLOBAL"

    def trained(self, parameter: str) -> bool | None:
        """Whether a weight or bias is trained: a frozen one has no gradient, ever. None where no
        gradients were saved at all."""
        names = self._names()
        if f"{GRADIENT}{parameter}" in names:
            return True
        return False if any(name.startswith(GRADIENT) for name in names) else None

    def _names(self) -> dict[str, Any]:
        names: dict[str, Any] = self.base_trial._tensors
        return names

    @property
    def worst(self) -> list[str]:
        return sorted(self.fired, key=lambda name: -self.fired[name].worst)

    # what the walk calls

    def invoke_at_step(self, step: int) -> bool:
        self._now = False
        self.look(step)
        if self._now:
            self.report["RuleTriggered"] += 1
            self.report["Violations"] += 1
        self.report["Datapoints"] = self.looked_at
        return self._now

    def verdict(self) -> Verdict:
        """After all steps."""
        given = written(self.parameters, self.chosen)
        if self.fired:
            found = self.finding()
            return Verdict(
                rule=self.name,
                status=Status.ISSUES_FOUND,
                reason=found.reason,
                advice=found.advice,
                gain=found.gain,
                sureness=found.sureness,
                times=self.times,
                looked_at=self.looked_at,
                steps=self.steps,
                tensors=self.worst[:MOST_NAMED],
                parameters=given,
                details=found.details,
            )
        reason = self.unready() if self.looked_at else self.missing()
        return Verdict(
            rule=self.name,
            status=Status.NOT_APPLICABLE if reason else Status.NO_ISSUES_FOUND,
            reason=reason or self.healthy(),
            looked_at=self.looked_at,
            parameters=given,
        )


def several(names: list[str], most: int = 3) -> str:
    """The first few, and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{rest}"


def lower_rate(evidence: Evidence, factor: float = 0.1) -> str:
    """`learning_rate=...`: a tenth of the job's, where that is known."""
    rate = evidence.number("learning_rate")
    return f"learning_rate={rate * factor:.3g}" if rate else f"a learning_rate {factor:g} times it"
