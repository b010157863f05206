"""GPUMemoryIncrease: a GPU's memory in use rises.

The mean of `window` points is compared with the mean of a window `lag` points earlier; a rise of
more than `increase` percentage points fires. Judged from more than window + lag and more than
patience points on.

The guide says "increase of the moving average" and gives no distance between the two windows. The
old open-source rule had 1: with the guide's window of 500 that difference is at most 100 / 500 =
0.2 and can never exceed the guide's increase of 10. So ours, by default, compares a window with
the one before it (lag=0 stands for lag=window); lag=1 is the old rule's reading. The guide has
increase=10, patience=100, window=500, the SDK 5, 1,000 and 10; ours are the guide's.
"""

from typing import Any

import numpy as np

from debugger.profiler.measured import Measured
from debugger.profiler.rules import points
from debugger.profiler.rules.outcome import NO_GPU, absent, fine, issue, too_few
from debugger.verdict import Verdict

DEFAULTS = {"increase": 10.0, "patience": 100.0, "window": 500.0, "lag": 0.0}


def judge(measured: Measured, parameters: dict[str, Any]) -> Verdict:
    window = max(1, int(parameters["window"]))
    lag = int(parameters["lag"]) or window
    series = [
        each for found in points.of(measured, "GPUMemoryUtilization").values() for each in found
    ]
    if not series:
        return absent(NO_GPU)
    needed = max(window + lag, parameters["patience"])
    most = max(len(each.values) for each in series)
    judged = [each for each in series if len(each.values) > needed]
    if not judged:
        return too_few(most, needed)
    rises = []
    for each in judged:
        # rounded: what adding up leaves in the last digits is no rise
        means = np.round(np.convolve(each.values, np.ones(window) / window, "valid"), 9)
        changes = np.round(means[lag:] - means[:-lag], 9)
        # the point with which a comparison ends is the last of its later window
        late = changes[max(0, int(parameters["patience"]) - window - lag + 1) :]
        at = int(np.argmax(late))
        rises.append(
            (float(late[at]), each.host, each.name, int((late > parameters["increase"]).sum()))
        )
    rise, host, name, times = max(rises)
    found = (
        f"the memory of {name} of {host} rose by at most {rise:.1f} points between means of "
        f"{window} points"
    )
    details = {"rises": [{"host": h, "gpu": n, "points": r} for r, h, n, _ in rises]}
    if not rise > parameters["increase"]:
        return fine(found, looked_at=most, details=details)
    return issue(
        found,
        "if it goes on, something keeps tensors from step to step (a list of losses without "
        ".item(), a hook that saves too much: a larger debug_save_interval); if it stays, the "
        "cause is a larger micro-batch or the evaluation: a smaller evaluation_batch_size",
        times=times, looked_at=most, details=details,
    )  # fmt: skip
