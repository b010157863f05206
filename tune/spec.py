"""What is searched: ranges, objective, strategy and limits, as `reader` finds them in a request."""

from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from itertools import islice, product
from typing import Literal

RESOURCES = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")
"""Static hyperparameters that Hyperband takes its resource from, where the request names none."""

Kind = Literal["categorical", "continuous", "integer"]


@dataclass(frozen=True)
class Range:
    name: str
    kind: Kind
    values: tuple[str, ...] = ()
    """Of a categorical parameter."""
    low: float = 0.0
    high: float = 0.0
    scaling: str = "Linear"


@dataclass(frozen=True)
class Objective:
    name: str
    regex: str
    """Its first group is the value; the last match of a log is the trial's."""
    maximize: bool

    def __str__(self) -> str:
        return f"{'largest' if self.maximize else 'smallest'} {self.name}"


@dataclass(frozen=True)
class Hyperband:
    least: int
    most: int
    """Epochs."""


@dataclass(frozen=True)
class Specification:
    ranges: tuple[Range, ...]
    objective: Objective
    strategy: str
    static: dict[str, str]
    max_trials: int
    parallel_trials: int
    max_seconds: float | None = None
    early_stopping: bool = False
    hyperband: Hyperband | None = None
    target: float | None = None
    """A trial that reaches it ends the search."""
    not_improving: int | None = None
    """So many trials in a row without 1 % of improvement end the search."""
    seed: int | None = None
    parents: tuple[str, ...] = ()
    """Names of earlier searches to learn from."""
    ignored: tuple[str, ...] = field(default=())
    """What was asked for that has no meaning on one machine."""

    @property
    def fixed(self) -> dict[str, str]:
        """Hyperparameters that all trials share."""
        if self.hyperband is None or any(name in self.static for name in RESOURCES):
            return self.static
        return {**self.static, "epochs": str(self.hyperband.most)}

    def grid(self) -> Iterator[dict[str, str]]:
        """As many combinations of categorical values as trials, in the request's order."""
        names = [one.name for one in self.ranges]
        every = product(*(one.values for one in self.ranges))
        for values in islice(every, self.max_trials):
            yield dict(zip(names, values, strict=True))

    @property
    def identity(self) -> dict[str, str]:
        """What may not change while a search goes on: how long it goes on may."""
        given = {f"range of {one.name}": str(astuple(one)) for one in self.ranges}
        return {
            **self.fixed, **given, "Strategy": self.strategy,
            "HyperParameterTuningJobObjective": f"{self.objective}, {self.objective.regex}",
        }  # fmt: skip
