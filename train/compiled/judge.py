"""Whether an engine is as good as the network that it was made of, from their answers to photos."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MANY = 1000
"""Photos from which a difference in accuracy is measured well enough to be held to a limit: half a
point is five photos of these. Of fewer, chance alone gives and takes as much."""

LEVEL = 0.05
"""Of McNemar's test, one-sided: how seldom an engine that is as good may be called worse."""


@dataclass(frozen=True)
class Verdict:
    """`kept` and why, in words for the log, the report and `model.json`."""

    kept: bool
    why: str


def mcnemar(losses: int, gains: int) -> float:
    """The exact probability of so many losses or more among the photos on which two classifiers
    differ, were each as likely to be a gain: the upper tail of a fair binomial."""
    differing = losses + gains
    ways = sum(math.comb(differing, count) for count in range(losses, differing + 1))
    return float(ways / 2**differing)


def verdict(
    before: NDArray[np.bool_], after: NDArray[np.bool_], tolerance: float, held_out: int = 0
) -> Verdict:
    """Of the same photos, whether each was `right` before and after. `tolerance` is in points of
    accuracy: from `MANY` photos the limit; of fewer it is for chance to say. It stays the limit
    where `held_out` are many and there was no time for all: haste must not make it looser."""
    losses, gains = int((before & ~after).sum()), int((~before & after).sum())
    count = len(before)
    fall = 100 * (losses - gains) / max(1, count)
    changes = f"{losses} lost, {gains} gained of {count:,} photos"
    if max(count, held_out) >= MANY:
        kept = fall <= tolerance
        return Verdict(kept, f"top-1 {_moves(fall)}, {tolerance:g} may be lost ({changes})")
    chance = mcnemar(losses, gains)
    if chance <= LEVEL:
        return Verdict(False, f"{changes}: too many for chance (McNemar's test, p = {chance:.3g})")
    return Verdict(True, f"{changes}: no more than by chance (McNemar's test, p = {chance:.2g})")


def _moves(fall: float) -> str:
    return f"falls by {fall:.2f} points" if fall > 0 else f"rises by {-fall:.2f} points"


def right(probabilities: NDArray[np.float32], targets: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Whether the most probable label of each photo is its own, or one of its own."""
    first = probabilities.argmax(1)
    if targets.ndim == 2:
        return np.asarray(targets[np.arange(len(targets)), first] == 1)
    return np.asarray(targets == first)
