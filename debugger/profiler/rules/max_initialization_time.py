"""MaxInitializationTime: more than `threshold` minutes pass before the first step.

From the first measurement to the start of the first step. Guide and SDK agree on 20 minutes.
"""

from typing import Any

from debugger.profiler.measured import Measured
from debugger.profiler.rules.outcome import absent, fine, issue
from debugger.verdict import Verdict

DEFAULTS = {"threshold": 20.0}


def judge(measured: Measured, parameters: dict[str, Any]) -> Verdict:
    if measured.began is None:
        return absent("nothing was measured: profile=system measures")
    firsts = [float(each.starts[0]) for each in measured.steps if len(each.starts)]
    last = max((float(each.times[-1]) for each in measured.series), default=measured.began)
    until = min(firsts) if firsts else last
    minutes = (until - measured.began) / 60
    words = "to the first step" if firsts else "without a step"
    found = f"{minutes:.1f} minutes {words}"
    details = {"minutes": minutes, "steps_seen": bool(firsts)}
    looked = len(firsts)
    if minutes > parameters["threshold"]:
        return issue(
            found,
            "feature_cache keeps what is computed before the first step for the next job: a "
            "checkpoint folder or a warm pool holds it; FastFile or tar shards in place of a copy "
            "of many small files; weights baked into the image",
            gain=f"at most {minutes:.0f} minutes of every start",
            looked_at=looked, details=details,
        )  # fmt: skip
    if not firsts:
        return absent(f"no step was measured, and only {found} so far")
    return fine(found, looked_at=looked, details=details)
