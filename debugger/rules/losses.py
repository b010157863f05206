"""A job's losses as rules need them: of training, and of each evaluation pass.

smdebug saves the loss of single mini-batches. An evaluation pass is a run of EVAL steps with no
other step between them, which the counters of both modes tell even where few steps are saved. A
job that never named its mode counts as training.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from debugger.rules.base import EVAL, TensorRule

MOST_LOSSES = 100_000
"""Kept of a job; the oldest go first."""


@dataclass
class Pass:
    """One evaluation, and the training since the one before."""

    step: int
    """Global step at which it began."""
    losses: list[float]
    training: list[float]

    @property
    def validation(self) -> float:
        return float(np.mean(self.losses))

    @property
    def train(self) -> float | None:
        return float(np.mean(self.training)) if self.training else None


@dataclass
class Losses:
    training: list[tuple[int, float]] = field(default_factory=list)
    """Global step and loss."""
    passes: list[Pass] = field(default_factory=list)
    _since: list[float] = field(default_factory=list)
    _last: tuple[int, int] | None = None

    def train(self, step: int, loss: float) -> None:
        self.training.append((step, loss))
        self._since.append(loss)
        del self.training[:-MOST_LOSSES]

    def evaluate(self, step: int, mode_step: int, loss: float) -> bool:
        """Returns whether a new pass began with it."""
        last, self._last = self._last, (step, mode_step)
        if self.passes and last is not None and step - last[0] == mode_step - last[1]:
            self.passes[-1].losses.append(loss)
            return False
        self.passes.append(Pass(step, [loss], self._since))
        self._since = []
        return True

    @property
    def whole(self) -> list[Pass]:
        """Without the last, which may be under way."""
        return self.passes[:-1]


def read(
    rule: TensorRule, step: int, collections: tuple[str, ...], regex: str | None
) -> Iterator[tuple[str, float]]:
    """Name and value of each scalar saved at this step."""
    for name in rule.matching(step, collections, regex):
        value = rule.value(name, step)
        if value is not None and value.size == 1:
            rule.seen(step)
            yield name, float(value.reshape(-1)[0])


class LossHistory:
    """`Losses` per tensor, filled step by step."""

    def __init__(self, rule: TensorRule, regex: str | None = None) -> None:
        self.rule, self.regex = rule, regex
        self.of: dict[str, Losses] = {}

    def look(self, step: int) -> list[str]:
        """Returns the names of losses whose evaluation pass before this one is whole now."""
        mode, ended = self.rule.mode(step), []
        collections = () if self.regex else ("losses",)
        for name, value in read(self.rule, step, collections, self.regex):
            losses = self.of.setdefault(name, Losses())
            if mode != EVAL:
                losses.train(step, value)
                continue
            began = losses.evaluate(step, self.rule.base_trial.mode_step(step), value)
            if began and len(losses.passes) > 1:
                ended.append(name)
        return ended
