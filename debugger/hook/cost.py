"""What the hook says at the end: one line, and `debugger.json` in the job's output folder.

| key | holds |
| --- | --- |
| `state` | `on`, or `turned off: ` and the error |
| `errors` | errors in the hook; the first turns it off |
| `tensors` | the folder that the tensors are in |
| `saved` | by mode, the steps that were saved |
| `seconds`, `percent` | what it took, and of the time that the job would have taken without it |
| `start_seconds` | what it took before the first step, smdebug's import mostly |
| `percent_by_steps` | the same from the medians of saved and other updates; null without both |
| `budget_percent` | `debug_budget` |
| `widening` | by mode, times the interval that was asked for |
| `skipped` | saves that were due and did not fit the budget |
| `unmatched` | requests that match no tensor |
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from debugger.hook.budget import Budget

if TYPE_CHECKING:
    from debugger.hook.tensors import TensorHook


def line(budget: Budget, state: str) -> str:
    saved = ", ".join(f"{each.saved} {mode}" for mode, each in budget.modes.items() if each.saved)
    words = (
        f"{saved or 'no'} steps saved, {budget.spent:.2f} s, {budget.used:.1f} % of the job; "
        f"{budget.start:.1f} s to start"
    )
    return words if state == "on" else f"{words}; {state}"


def write(path: Path, hook: "TensorHook") -> None:
    """A convenience: where it cannot be written, the line in the log has said the same."""
    budget = hook.budget
    found = {
        "state": hook.state,
        "errors": hook.errors,
        "tensors": str(hook.folder),
        "saved": {mode: each.saved for mode, each in budget.modes.items()},
        "seconds": round(budget.spent, 4),
        "percent": round(budget.used, 3),
        "start_seconds": round(budget.start, 4),
        "percent_by_steps": None if budget.estimate is None else round(budget.estimate, 3),
        "budget_percent": budget.percent,
        "widening": {mode: each.widening for mode, each in budget.modes.items()},
        "skipped": budget.skipped,
        "unmatched": hook.unmatched,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    except OSError:
        return
