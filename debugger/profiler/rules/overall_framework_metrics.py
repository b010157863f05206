"""OverallFrameworkMetrics: where the steps' seconds went; never an issue.

The shares of the stages over all processes, and the longest operators, where a trace was taken.
"""

from typing import Any

from debugger.profiler.measured import STAGES, Measured
from debugger.profiler.rules.outcome import absent, fine
from debugger.verdict import Verdict

DEFAULTS: dict[str, Any] = {}


def judge(measured: Measured, parameters: dict[str, Any]) -> Verdict:
    timed = [each for each in measured.steps if each.stages]
    whole = sum(float(each.seconds.sum()) for each in timed)
    if not whole:
        return absent("no stages of steps were measured: profile=system measures them")
    shares = {
        name: sum(float(each.stages[name].sum()) for each in timed) / whole
        for name in STAGES
        if any(name in each.stages for each in timed)
    }
    shares["other"] = max(0.0, 1 - sum(shares.values()))
    largest = sorted(shares, key=lambda name: -shares[name])[:3]
    told = ", ".join(f"{name} {100 * shares[name]:.0f} %" for name in largest)
    details = {
        "shares": shares,
        "operators": [{"name": each.name, "kind": each.kind, "share": each.share}
                      for each in measured.operators[:20]],
    }  # fmt: skip
    looked = max(len(each.seconds) for each in timed)
    return fine(f"of the steps' time: {told}", looked_at=looked, details=details)
