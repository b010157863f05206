"""`profiler-report.json`: the verdicts and the numbers of the page, for programs.

`schema.json` beside this file is the promise; the version rises when a field changes its meaning or
goes, not when one is added.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np

from debugger.plain import plain
from debugger.report import layers, machine, timing
from debugger.report.material import Material
from debugger.report.summary import headline
from debugger.report.usage import pace
from debugger.verdict import Status

VERSION = 1
MOST_OPERATORS = 100


def record(material: Material, written: datetime | None = None) -> dict[str, Any]:
    measured = material.measured
    counts = {status.value: len(material.of(status)) for status in Status}
    made = {
        "version": VERSION,
        "job": material.job,
        "written": (written or datetime.now(UTC)).isoformat(timespec="seconds"),
        "summary": {"headline": headline(material)[0], "rules": counts},
        "issues": [verdict.rule for verdict in material.of(Status.ISSUES_FOUND)],
        "verdicts": [verdict.as_dict() for verdict in material.verdicts],
        "advice": [asdict(each) for each in material.advice],
        "system": machine.summaries(measured),
        "steps": [_steps(each) for each in measured.steps if len(each.numbers)],
        "operators": [
            {"name": each.name, "kind": each.kind, "calls": each.calls,
             "seconds": each.seconds, "share": each.share}
            for each in measured.operators[:MOST_OPERATORS]
        ],
        "metrics": material.metrics,
        "tensors": _tensors(material),
        "environment": material.environment,
        "notes": material.notes,
    }  # fmt: skip
    return {key: plain(value) for key, value in made.items()}


def _steps(steps: Any) -> dict[str, Any]:
    found = pace(steps)
    outliers, bound = timing.slow(steps)
    return {
        "host": steps.host,
        "rank": steps.rank,
        "count": len(steps.numbers),
        "images_per_second": found.images / found.seconds if found else None,
        "seconds": timing.percentiles(steps),
        "outliers": {"bound_seconds": bound, "count": len(outliers),
                     "steps": steps.numbers[outliers[: timing.SLOWEST]]},
    }  # fmt: skip


def _tensors(material: Material) -> dict[str, Any] | None:
    digest = material.tensors
    if digest is None:
        return None
    found = digest.gradients
    gradients = None
    if found is not None:
        last = layers.last_of(found)
        gradients = {
            "measure": found.measure,
            "steps": found.steps,
            "last": dict(zip(found.layers, np.where(np.isfinite(last), last, np.nan), strict=True)),
            "broken": [name for name, row in zip(found.layers, found.sizes, strict=True)
                       if np.isinf(row).any()],
        }  # fmt: skip
    return {
        "tensors": digest.tensors,
        "saved_steps": digest.saved_steps,
        "gradients": gradients,
        "losses": [
            {"name": each.name, "mode": each.mode, "points": len(each.steps),
             "first": each.values[0], "last": each.values[-1]}
            for each in digest.losses
        ],
    }  # fmt: skip
