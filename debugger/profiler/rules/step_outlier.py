"""StepOutlier: some steps take far longer than the others.

Per process and mode with more than LEAST_STEPS steps: the number of steps longer than the mean plus
`stddev` standard deviations, above n_outliers. stddev is 5 in the guide, which calls its unit
minutes and gives `mode` a default of 5, both by mistake; the SDK has 3. Ours is 5, deviations.
Only training steps are timed: `mode` may be None or TRAIN.
"""

from typing import Any

import numpy as np

from debugger.profiler.measured import Measured, Steps
from debugger.profiler.rules.outcome import absent, fine, issue, too_few
from debugger.verdict import MOST_NAMED, Verdict

DEFAULTS: dict[str, Any] = {"stddev": 5.0, "mode": None, "n_outliers": 10.0}
LEAST_STEPS = 100
"""A mean of fewer says little; the platform's old rule has the same number."""
ADVICE = {
    "data_wait": "more num_workers, FastFile or tar shards: some batches come late",
    "host_to_device": "less memory pressure on the host: a copy to the device sometimes waits",
    "forward": "an image_size and batch_size that do not change; no other job on this machine",
    "backward": "no other job on this machine",
    "optimizer": "hosts of one instance type: the exchange of gradients waits for the slowest",
    "hook": "a larger debug_save_interval, or fewer tensors: saving them is what takes so long",
    "other": "a larger checkpoint_minutes: state is written during these steps",
}


def judge(measured: Measured, parameters: dict[str, Any]) -> Verdict:
    if parameters["mode"] not in (None, "TRAIN", "ModeKeys.TRAIN"):
        return absent(f"steps of mode {parameters['mode']} are not timed, only TRAIN")
    if not measured.steps:
        return absent("no steps were measured: profile=system measures them")
    most = max(len(each.seconds) for each in measured.steps)
    judged = [each for each in measured.steps if len(each.seconds) > LEAST_STEPS]
    if not judged:
        return too_few(most, LEAST_STEPS, "steps")
    rows = [(_outliers(each, parameters["stddev"]), each) for each in judged]
    late, worst = max(rows, key=lambda row: int(row[0].sum()))
    count = int(late.sum())
    mean = float(worst.seconds.mean())
    found = (
        f"{count} of {len(worst.seconds)} steps of rank {worst.rank} on {worst.host} took longer "
        f"than {mean + parameters['stddev'] * float(worst.seconds.std()):.3g} s; the mean is "
        f"{mean:.3g} s"
    )
    numbers = worst.numbers[late][:MOST_NAMED].tolist()
    details: dict[str, Any] = {"processes": [
        {"host": each.host, "rank": each.rank, "outliers": int(one.sum()),
         "steps": len(each.seconds)} for one, each in rows]}  # fmt: skip
    if not count > parameters["n_outliers"]:
        return fine(found, looked_at=most, details=details)
    stage, excess = _guilty(worst, late)
    details["stage"], details["excess_seconds"], details["steps"] = stage, excess, numbers
    lost = float((worst.seconds[late] - mean).sum() / worst.seconds.sum())
    return issue(
        f"{found}; {stage} is what is longer, by {excess:.3g} s" if stage else found,
        ADVICE.get(stage, "look at profile=steps:A-B around such a step"),
        gain=f"{100 * lost:.1f} % of the time, were they as long as the mean",
        times=count, looked_at=most, details=details,
    )  # fmt: skip


def _outliers(steps: Steps, deviations: float) -> Any:
    return steps.seconds > steps.seconds.mean() + deviations * steps.seconds.std()


def _guilty(steps: Steps, late: Any) -> tuple[str, float]:
    """The stage that grows most in the late steps, and by how many seconds; "" where unknown."""
    if not steps.stages:
        return "", 0.0
    other = steps.seconds - np.sum(list(steps.stages.values()), axis=0)
    grown = {
        name: float(values[late].mean() - values[~late].mean())
        for name, values in {**steps.stages, "other": other}.items()
    }
    stage = max(grown, key=lambda name: grown[name])
    return stage, grown[stage]
