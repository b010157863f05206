"""Whether probabilities can be believed, and one number that makes them so.

A network of 90 % certainty should be right nine times out of ten. ECE measures by how much it is
not (Guo et al. 2017, 15 bins); a temperature, by which the logits are divided, corrects it without
changing which label is first.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15
LOWEST, HIGHEST = 0.05, 20.0
"""Temperatures that are looked at; a minimum at either end is no minimum."""
STEPS = 20
"""Of the golden-section search: the logarithm of the temperature to 0.0004."""
GOLDEN = (5**0.5 - 1) / 2

Logits = NDArray[np.float32]
Targets = NDArray[np.int32]
Rows = tuple[Logits, Targets]


@dataclass(frozen=True)
class Reliability:
    """`counts`, `confidence` and `accuracy` are per bin of the predicted label's probability."""

    photos: int
    ece: float
    nll: float
    counts: list[int]
    confidence: list[float]
    accuracy: list[float]


@dataclass(frozen=True)
class Fit:
    """`temperature` is what serving applies; `fitted` what was found, None where nothing was."""

    temperature: float
    fitted: float | None
    note: str


@dataclass(frozen=True)
class Calibration:
    fit: Fit
    before: dict[str, Reliability]
    after: dict[str, Reliability]
    """Per split, without the temperature and with the one that serving applies."""

    def as_dict(self) -> dict[str, Any]:
        splits = {
            split: {
                "photos": before.photos,
                "ece_before": before.ece,
                "ece_after": self.after[split].ece,
                "nll_before": before.nll,
                "nll_after": self.after[split].nll,
            }
            for split, before in self.before.items()
        }
        return {**asdict(self.fit), **splits}


def calibrate(validation: Rows, others: dict[str, Rows]) -> Calibration:
    """Fitted on validation photos; `others` are rows of further splits to measure it on."""
    fit = temperature(*validation)
    before, after = {}, {}
    for split, (logits, targets) in {"validation": validation, **others}.items():
        before[split] = reliability(logits, targets)
        after[split] = reliability(logits, targets, fit.temperature)
    return Calibration(fit, before, after)


def reliability(logits: Logits, targets: Targets, temperature: float = 1.0) -> Reliability:
    scaled = (logits - logits.max(1, keepdims=True)) / np.float32(temperature)
    confidence = 1 / np.exp(scaled).sum(1)  # of the largest logit, which is 0 here
    right = logits.argmax(1) == targets
    which = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    counts = np.bincount(which, minlength=BINS)
    some = np.maximum(counts, 1)
    certain = np.bincount(which, confidence, BINS) / some
    accurate = np.bincount(which, right, BINS) / some
    ece = float((counts * np.abs(certain - accurate)).sum() / max(1, len(targets)))
    losses = nll(logits, targets, temperature)
    return Reliability(
        len(targets),
        ece,
        float(losses.mean()) if len(losses) else 0.0,
        counts.tolist(),
        certain.tolist(),
        accurate.tolist(),
    )


def nll(logits: Logits, targets: Targets, temperature: float) -> NDArray[np.float64]:
    """Negative log-likelihood of each photo's true label."""
    scaled = (logits - logits.max(1, keepdims=True)) / np.float32(temperature)
    true = scaled[np.arange(len(targets)), targets]
    losses: NDArray[np.float64] = np.log(np.exp(scaled).sum(1, dtype=np.float64)) - true
    return losses


def temperature(logits: Logits, targets: Targets) -> Fit:
    """Kept only where it helps photos it was not fitted on: each half of them is judged by the
    temperature of the other half, and the gain must exceed its own standard error."""
    mistakes = int((logits.argmax(1) != targets).sum())
    if len(targets) < 4 or not mistakes:
        return Fit(1.0, None, f"{mistakes} mistakes on {len(targets)} photos: nothing to fit it to")
    fitted = minimise(logits, targets)
    if not LOWEST * 1.01 < fitted < HIGHEST / 1.01:
        return Fit(1.0, None, f"no best value between {LOWEST:g} and {HIGHEST:g}")
    halves = np.random.default_rng(0).permutation(len(targets)) % 2
    gains = np.empty(len(targets))
    for half in (0, 1):
        held, rest = halves == half, halves != half
        other = minimise(logits[rest], targets[rest])
        gains[held] = nll(logits[held], targets[held], 1.0) - nll(
            logits[held], targets[held], other
        )
    gain, error = float(gains.mean()), float(gains.std(ddof=1) / len(gains) ** 0.5)
    told = f"changes the loss on photos it was not fitted on by {-gain:+.4f} (±{error:.4f})"
    if gain <= error:
        return Fit(1.0, fitted, f"not applied: {fitted:.3f} {told}")
    return Fit(fitted, fitted, f"applied: {told}")


def minimise(logits: Logits, targets: Targets) -> float:
    """The temperature of the lowest mean loss. The loss is convex in its inverse, so that it has
    one minimum and a golden-section search finds it."""
    low, high = np.log(LOWEST), np.log(HIGHEST)

    def loss(at: float) -> float:
        return float(nll(logits, targets, float(np.exp(at))).mean())

    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    left_loss, right_loss = loss(left), loss(right)
    for _ in range(STEPS):
        if left_loss < right_loss:
            high, right, right_loss = right, left, left_loss
            left = high - GOLDEN * (high - low)
            left_loss = loss(left)
        else:
            low, left, left_loss = left, right, right_loss
            right = low + GOLDEN * (high - low)
            right_loss = loss(right)
    return float(np.exp((low + high) / 2))
