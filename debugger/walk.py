"""Rules over a job's tensors: one pass, step by step, whoever wrote the rule.

A rule is invoked as smdebug's own evaluator does it: `Rule.invoke(step)` with global steps, a fire
is the exception RuleEvaluationConditionMet, and a tensor that is not there is no verdict. A rule
that raises anything else is an error of that rule: it is left out from there on, and the others go
on.
"""

import contextlib
import io
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from debugger import tensors
from debugger.evidence import Evidence
from debugger.reader import RuleEvaluationConditionMet, SMDebugError
from debugger.rules import asked
from debugger.rules.asked import Asked, RuleRequestError
from debugger.rules.base import TensorRule
from debugger.verdict import MOST_NAMED, Status, Sureness, Verdict

Fired = Callable[[Asked, int, Verdict], None]
"""Told of the first fire of each rule: the step, and the verdict by then."""
Bring = Callable[[str], Path]
"""The folder of another job that a rule names; raises ValueError or OSError."""


@dataclass
class Running:
    """One rule on its way through the steps."""

    asked: Asked
    rule: Any
    times: int = 0
    asked_steps: int = 0
    steps: list[int] | None = None
    error: str = ""
    said: bool = False
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return self.asked.short


class Walk:
    """`trial` is a `tensors.Tensors`, or `tensors.Nothing`. Raises RuleRequestError where a rule
    cannot be made; where `strict` is false that is an error of that rule, and the others go on."""

    def __init__(
        self, trial: Any, rules: Iterable[Asked], evidence: Evidence, strict: bool = True,
        bring: Bring = Path,
    ) -> None:  # fmt: skip
        self.trial, self.evidence, self._bring = trial, evidence, bring
        self._done: set[int] = set()
        self.running, mistakes = [], []
        for each in rules:
            try:
                self.running.append(Running(each, self._make(each)))
            except (ValueError, OSError) as error:  # ours are kinds of ValueError
                mistakes.append(str(error))
                self.running.append(Running(each, None, error=str(error)))
        if mistakes and strict:
            raise RuleRequestError("; ".join(mistakes))

    def _make(self, each: Asked) -> Any:
        named = each.parameters.get("other_trials")
        words = named.split(",") if isinstance(named, str) else list(named or [])
        others = [tensors.Tensors(_tensors_below(self._bring(str(word).strip()))) for word in words]
        with _to_stderr():
            rule = asked.make(each, self.trial, others or None)
        if isinstance(rule, TensorRule):
            rule.evidence = self.evidence
        return rule

    def on(self, fired: Fired | None = None, pause: Callable[[float], bool] | None = None) -> int:
        """Over the steps that are complete and have not been walked; returns how many. `pause` is
        told after each step how many seconds it took, and says whether to hurry from there on."""
        steps = [step for step in self.trial.steps() if step not in self._done]
        for step in steps:
            began = time.process_time()
            self._done.add(step)
            for running in self.running:
                self._invoke(running, step, fired)
            if pause is not None and pause(time.process_time() - began):
                pause = None
        return len(steps)

    def waited(self, fired: Fired | None = None) -> None:
        """Between two looks at a running job: rules about time may fire."""
        for running in self.running:
            waiting = getattr(running.rule, "waiting", None)
            if waiting is not None and not running.error and waiting():
                self._fire(running, max(self._done, default=0), fired)

    def _invoke(self, running: Running, step: int, fired: Fired | None) -> None:
        if running.error:
            return
        started = time.process_time()
        try:
            with _to_stderr():
                running.rule.invoke(step)
            running.asked_steps += 1
        except RuleEvaluationConditionMet:
            running.asked_steps += 1
            self._fire(running, step, fired)
        except SMDebugError:
            pass  # what it asked for is not there at this step
        except Exception as error:
            running.error = _words(error)
        running.seconds += time.process_time() - started

    def _fire(self, running: Running, step: int, fired: Fired | None) -> None:
        running.times += 1
        running.steps = [*(running.steps or []), step][:MOST_NAMED]
        if fired is not None and not running.said:
            running.said = True
            fired(running.asked, step, self._verdict(running))

    def verdicts(self) -> list[Verdict]:
        """When all steps have been walked."""
        for running in self.running:
            if isinstance(running.rule, TensorRule) and not running.error:
                try:
                    running.rule.conclude()
                except Exception as error:
                    running.error = _words(error)
        return [self._verdict(running) for running in self.running]

    def _verdict(self, running: Running) -> Verdict:
        if not running.error and isinstance(running.rule, TensorRule):
            try:
                return running.rule.verdict()
            except Exception as error:
                running.error = _words(error)
        given = {name: str(value) for name, value in running.asked.parameters.items()}
        if running.error:
            return Verdict(
                rule=running.name, status=Status.ERROR, reason=running.error, parameters=given,
                sureness=Sureness.CERTAIN,
            )  # fmt: skip
        if running.times:
            status, reason = Status.ISSUES_FOUND, f"fired in {running.times} steps"
        elif running.asked_steps:
            status, reason = Status.NO_ISSUES_FOUND, f"silent in {running.asked_steps} steps"
        else:
            status = Status.NOT_APPLICABLE
            reason = "no step had the tensors that it asks for; save them with debug_include_regex"
        return Verdict(
            rule=running.name, status=status, reason=reason, times=running.times,
            looked_at=running.asked_steps, steps=running.steps or [], parameters=given,
        )  # fmt: skip


def _tensors_below(folder: Path) -> Path:
    """The tensors' own folder, where a job's was named."""
    from debugger import evidence

    found = evidence.find(folder).tensors
    if not found:
        raise tensors.NoTensorsError(f"{folder}: no tensors there")
    return found[0]


def _words(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


@contextlib.contextmanager
def _to_stderr() -> Any:
    """What a user's rule prints must not end up among our answers."""
    with contextlib.redirect_stdout(sys.stderr or io.StringIO()):
        yield


def run(
    trial: Any, rules: Iterable[Asked], evidence: Evidence, bring: Bring = Path
) -> list[Verdict]:
    """All steps there are, and the verdicts."""
    walk = Walk(trial, rules, evidence, bring=bring)
    walk.on()
    return walk.verdicts()
