"""All that can be said about a job from what it has left: verdicts, a table, and the report."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from debugger import evidence as evidences
from debugger import tensors, walk
from debugger.evidence import Evidence
from debugger.profiler import read
from debugger.profiler import rules as profiler_rules
from debugger.profiler.measured import Measured
from debugger.report import material, write
from debugger.rules.asked import Asked
from debugger.verdict import Status, Sureness, Verdict

ORDER = {Status.ISSUES_FOUND: 0, Status.ERROR: 1, Status.NO_ISSUES_FOUND: 2,
         Status.NOT_APPLICABLE: 3}  # fmt: skip
MOST_BATCH = 1 << 20
"""A larger batch size is no number of photos."""
SURENESS = {Sureness.CERTAIN: 0, Sureness.LIKELY: 1, Sureness.POSSIBLE: 2}


class NothingToReadError(ValueError):
    """The folder holds nothing that a diagnosis reads."""


@dataclass(frozen=True)
class Diagnosis:
    evidence: Evidence
    verdicts: list[Verdict]
    trial: Any
    """Of smdebug; without tensors where the job has saved none."""
    measured: Measured
    notes: list[str] = field(default_factory=list)
    """What could not be read, in words."""

    @property
    def issues(self) -> list[Verdict]:
        """The surest first."""
        found = [each for each in self.verdicts if each.status == Status.ISSUES_FOUND]
        return sorted(found, key=lambda each: SURENESS[each.sureness])


def ordered(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Issues first, the surest of them at the top."""
    return sorted(verdicts, key=lambda each: (ORDER[each.status], SURENESS[each.sureness]))


def diagnose(
    folder: Path, rules: list[Asked], profiler: bool = True, more: Sequence[Path] = (),
    bring: walk.Bring = Path,
) -> Diagnosis:  # fmt: skip
    """`profiler`: its rules, too; `more`: other folders of the same job; `bring`: the folder of
    another job that a rule names. Raises NothingToReadError where the folder is missing, empty or
    damaged beyond use, and RuleRequestError where a rule cannot be made."""
    if not folder.is_dir():
        raise NothingToReadError(f"{folder}: no such folder")
    found = evidences.find(folder, *more)
    if not found.anything:
        raise NothingToReadError(
            f"{folder}: nothing that a diagnosis reads: no tensors (collections/, events/), no "
            "profiler files (system/, framework/), no metrics.jsonl, doctor.json or failure"
        )
    notes = list(found.damaged[:100])
    trial: Any = None
    for path in found.tensors:
        try:
            trial = tensors.Tensors(path)
            break
        except tensors.NoTensorsError as error:
            notes.append(str(error))
    if len(found.tensors) > 1 and trial is not None:
        others = len(found.tensors) - 1
        notes.append(f"{others} other folders of tensors are not looked at: name one of them")
    if trial is None:
        trial = tensors.Nothing(folder)
    verdicts = walk.run(trial, rules, found, bring)
    measured = Measured()
    if found.profiler:
        measured = read.read(found.profiler[0])
        others = len(found.profiler) - 1
        if others:
            notes.append(f"{others} other folders of measurements are not looked at: name one")
    if profiler and found.profiler:
        verdicts += profiler_rules.verdicts(measured)
    if trial.damaged:
        notes.append(f"{len(trial.damaged)} files of tensors are damaged, such as "
                     f"{trial.damaged[0]}")  # fmt: skip
    return Diagnosis(found, verdicts, trial, measured, notes)


def report(folder: Path, made: Diagnosis) -> Path:
    """The page, and the same as JSON beside it, whole or not at all. Raises OSError."""
    found = made.evidence
    size = found.number("batch_size")
    return write.write(folder, material.gather(
        job=str(found.folder or ""),
        verdicts=ordered(made.verdicts),
        measured=made.measured,
        metrics=found.metrics,
        trial=made.trial if made.trial.tensor_names() else None,
        environment=found.model.get("versions") or {},
        batch_size=int(size) if size and 1 <= size < MOST_BATCH else None,
        notes=made.notes,
    ))  # fmt: skip


def ending(verdicts: list[Verdict]) -> str:
    """The last line: what was found, and how many rules could not say."""
    counts = Counter(each.status for each in verdicts)
    healthy, absent = counts[Status.NO_ISSUES_FOUND], counts[Status.NOT_APPLICABLE]
    named = [each.rule for each in ordered(verdicts) if each.status == Status.ISSUES_FOUND]
    words = [f"{len(named)} issue{'s' if len(named) > 1 else ''}: {', '.join(named)}"] * bool(named)
    if healthy and not named:
        words.append(f"no issue found by {healthy} rules")
    if not (named or healthy):
        words.append("nothing can be said about this job")
    words += [f"{absent} rules had nothing, or too little, to look at"] * bool(absent)
    words += [f"{counts[Status.ERROR]} rules failed"] * bool(counts[Status.ERROR])
    return "; ".join(words)


def table(verdicts: Iterable[Verdict], width: int = 100) -> str:
    """For people, in columns; issues in full, with what to change."""
    rows = ordered(verdicts)
    name = max((len(each.rule) for each in rows), default=0)
    lines = []
    for each in rows:
        lines += _wrapped(f"{each.rule:<{name}}  {each.status.value:<14} ", each.reason, width)
        if each.status == Status.ISSUES_FOUND:
            indent = f"{'':<{name}}  {'':<14} "
            lines += _wrapped(f"{indent}-> ", f"{each.advice} ({each.sureness.value})", width)
            if each.gain:
                lines += _wrapped(f"{indent}   ", each.gain, width)
    return "\n".join(lines)


def _wrapped(head: str, words: str, width: int) -> list[str]:
    room = max(30, width - len(head))
    lines = textwrap.wrap(words, room, break_long_words=False, break_on_hyphens=False) or [""]
    return [head + lines[0], *(" " * len(head) + line for line in lines[1:])]
