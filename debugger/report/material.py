"""All that a report is made of, brought together once; what is missing is missing there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from debugger.profiler import fit
from debugger.profiler.advice import Advice
from debugger.profiler.measured import Measured
from debugger.report.tensors import Digest
from debugger.report.trial import digest
from debugger.verdict import Status, Sureness, Verdict

SURE = [Sureness.CERTAIN, Sureness.LIKELY, Sureness.POSSIBLE]


@dataclass(frozen=True, kw_only=True)
class Material:
    job: str
    """Its name, or the folder that was looked at."""
    verdicts: list[Verdict] = field(default_factory=list)
    measured: Measured = field(default_factory=Measured)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    """Of every epoch, as in `metrics.jsonl`."""
    tensors: Digest | None = None
    """None where no tensors were saved."""
    environment: dict[str, str] = field(default_factory=dict)
    """Facts for the reader: device, versions; nothing secret."""
    advice: list[Advice] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What could not be read, or was read in part."""

    def of(self, status: Status) -> list[Verdict]:
        """Those of a status, the surest first, then those that fired most."""
        found = [verdict for verdict in self.verdicts if verdict.status == status]
        return sorted(found, key=lambda each: (SURE.index(each.sureness), -each.times, each.rule))


def gather(
    *,
    job: str,
    verdicts: Sequence[Verdict],
    measured: Measured | None = None,
    metrics: Sequence[Mapping[str, Any]] = (),
    trial: Any = None,
    environment: Mapping[str, object] | None = None,
    batch_size: int | None = None,
    notes: Sequence[str] = (),
) -> Material:
    """`metrics` has an object per epoch; `trial` is what smdebug's `create_trial` gives. Tensors
    that cannot be read are named in the notes and cost nothing else."""
    measured = measured or Measured()
    notes = list(notes)
    tensors = None
    if trial is not None:
        try:
            tensors = digest(trial)
        except Exception as error:  # the report is worth having without them
            notes.append(f"saved tensors: not read: {type(error).__name__}: {error}"[:300])
    return Material(
        job=job,
        verdicts=list(verdicts),
        measured=measured,
        metrics=[dict(each) for each in metrics],
        tensors=tensors,
        environment={name: str(value) for name, value in (environment or {}).items()},
        advice=fit.advise(measured, batch_size),
        notes=[*notes, *(tensors.notes if tensors else [])],
    )
