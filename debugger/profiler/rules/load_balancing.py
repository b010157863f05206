"""LoadBalancing: several GPUs are not used alike.

The utilisation of each GPU as a histogram in bins of 2 per cent; for every pair the square root of
the Jensen-Shannon divergence (natural logarithm, so at most 0.833) is compared with `threshold`.
The guide has threshold=0.5 and patience=10, the SDK patience 1,000, the old open-source rule 0.2;
ours are the guide's. That rule left out values above 98 and, by a misplaced loop, compared a GPU
with itself: ours looks at all values and at every pair, across hosts too.
"""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from debugger.profiler.measured import Measured
from debugger.profiler.rules import points
from debugger.profiler.rules.outcome import NO_GPU, absent, fine, issue, too_few
from debugger.verdict import Verdict

DEFAULTS = {"threshold": 0.5, "patience": 10.0}
BINS = np.arange(0, 102, 2)


def judge(measured: Measured, parameters: dict[str, Any]) -> Verdict:
    gpus = [each for found in points.of(measured, "GPUUtilization").values() for each in found]
    if not gpus:
        return absent(NO_GPU)
    if len(gpus) < 2:
        return absent("one GPU was measured: there is nothing to balance it against")
    most = max(len(each.values) for each in gpus)
    judged = [each for each in gpus if len(each.values) > parameters["patience"]]
    if len(judged) < 2:
        return too_few(most, parameters["patience"])
    shares = [np.histogram(each.values, BINS)[0] / len(each.values) for each in judged]
    pairs = [
        (distance(shares[one], shares[other]), judged[one], judged[other])
        for one, other in combinations(range(len(judged)), 2)
    ]
    pairs.sort(key=lambda pair: -pair[0])
    worst, one, other = pairs[0]
    found = (
        f"{one.name} of {one.host} ({one.values.mean():.0f} %) and {other.name} of {other.host} "
        f"({other.values.mean():.0f} %) differ most, by {worst:.2f}"
    )
    apart = sum(pair[0] > parameters["threshold"] for pair in pairs)
    details = {"pairs": [{"gpus": [f"{a.host}/{a.name}", f"{b.host}/{b.name}"], "distance": d}
                         for d, a, b in pairs[:20]]}  # fmt: skip
    if not apart:
        return fine(found, looked_at=most, details=details)
    return issue(
        found,
        "a batch_size that the number of GPUs divides; sharded channels with as many photos on "
        "every host; the same instance type everywhere",
        times=apart, looked_at=most, details=details,
    )  # fmt: skip


def distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Of two distributions, 0 to sqrt(ln 2)."""
    middle = (one + other) / 2

    def divergence(part: NDArray[np.float64]) -> float:
        some = part > 0
        return float((part[some] * np.log(part[some] / middle[some])).sum())

    return float(max(0.0, (divergence(one) + divergence(other)) / 2) ** 0.5)
