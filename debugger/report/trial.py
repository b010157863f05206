"""One bounded pass over a trial of smdebug.

Big networks and long runs are read in part: at most so many steps, layers and values of a tensor,
and for so many seconds; a pass that is cut short has still seen the whole run, only less densely.
"""

import math
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from debugger.report.tensors import (
    BINS,
    MOST_COLUMNS,
    MOST_DISTRIBUTIONS,
    MOST_LAYERS,
    MOST_LOSSES,
    MOST_SECONDS,
    MOST_STEPS,
    MOST_VALUES,
    Digest,
    Distribution,
    Floats,
    Gradients,
    Loss,
)
from debugger.report.thinning import coarse_to_fine, spread

PIECE = 1 << 20
"""Values that are added up at a time."""
GRADIENT = "gradient/"
LOSS = re.compile(r"[Ll]oss_(?!input).*output")
ACTIVATION = re.compile(r"_output_\d+$")
PARAMETER = re.compile(r"^(?!gradient|scalar/).*(weight|bias)$")
LAST_OF_ALL = 1 << 62
MEASURES = {
    "l2": "L2 norm",
    "abs_mean": "mean of absolute values",
    "abs_max": "largest absolute value",
    "std": "standard deviation",
}
"""By smdebug's names of reductions, the one to be preferred first."""


def digest(
    trial: Any, seconds: float = MOST_SECONDS, now: Callable[[], float] = time.monotonic
) -> Digest:
    """Of a trial that smdebug's `create_trial` opened. What cannot be read is left out and named in
    the notes; a job that still runs is read as far as it is."""
    from smdebug.analysis.utils import no_refresh

    names = trial.tensor_names()
    with no_refresh(trial):
        reader = _Reader(trial, now() + seconds, now)
        in_order = sorted(names, key=reader.place)
        losses = [loss for name in in_order if LOSS.search(name) for loss in reader.losses(name)]
        gradients = reader.gradients([name for name in in_order if name.startswith(GRADIENT)])
        weights = [name for name in in_order if PARAMETER.match(name) and name.endswith("weight")]
        activations = [
            name for name in in_order if ACTIVATION.search(name) and not LOSS.search(name)
        ]
        distributions = [
            *reader.distributions("weights", weights),
            *reader.distributions("activations", activations),
        ]
        saved = len(trial.steps(show_incomplete_steps=True))
    return Digest(saved, len(names), gradients, distributions, losses, reader.notes())


class _Reader:
    """Reads until the time is over, and counts what could not be read."""

    def __init__(self, trial: Any, end: float, now: Callable[[], float]) -> None:
        self._trial, self._end, self._now = trial, end, now
        self._unreadable: dict[str, str] = {}
        self._notes: list[str] = []

    def notes(self) -> list[str]:
        found = list(self._notes)
        if self._unreadable:
            name, why = next(iter(self._unreadable.items()))
            found.append(f"{len(self._unreadable)} tensors could not be read, as {name}: {why}")
        return found

    def place(self, name: str) -> tuple[int, list[Any]]:
        """Where a tensor stands in its file is when it was computed; gradients come backwards."""
        steps = self._trial.index_tensors_dict.get(name) or {}
        first = steps[min(steps)] if steps else {}
        location = next((each.get("tensor_location") for each in first.values()), None)
        start = getattr(location, "start_idx", None)
        at = start if isinstance(start, int) else LAST_OF_ALL
        natural = [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
        return (-at if name.startswith(GRADIENT) else at), natural

    def late(self) -> bool:
        return self._now() > self._end

    def steps(self, name: str) -> list[int]:
        return [int(step) for step in self._trial.tensor(name).steps(show_incomplete_steps=True)]

    def value(self, name: str, step: int) -> NDArray[Any] | None:
        """None where only reductions were saved, or nothing that can be read."""
        from smdebug.exceptions import TensorUnavailableForStep

        try:
            return np.asarray(self._trial.tensor(name).value(step))
        except TensorUnavailableForStep:
            return None
        except Exception as error:  # a damaged file, or one that went away: the rest is still good
            self._unreadable.setdefault(name, f"{type(error).__name__}: {error}"[:200])
            return None

    def reductions(self, name: str, step: int) -> dict[str, float]:
        """Those that were saved, such as `l2` and `abs_mean`."""
        try:
            found = self._trial.tensor(name).reduction_values(step)
        except Exception as error:  # see value
            self._unreadable.setdefault(name, f"{type(error).__name__}: {error}"[:200])
            return {}
        return {
            f"{'abs_' if absolute else ''}{kind}": float(np.asarray(value).reshape(-1)[0])
            for (kind, absolute), value in found.items()
            if value is not None
        }

    # losses

    def losses(self, name: str) -> list[Loss]:
        by_mode: dict[str, list[tuple[int, float]]] = {}
        steps = self.steps(name)
        for step in spread(steps, MOST_LOSSES):
            if self.late():
                self._cut("losses")
                break
            value = self.value(name, step)
            if value is not None and value.size:
                mode = str(getattr(self._trial.mode(step), "name", "GLOBAL"))
                by_mode.setdefault(mode, []).append((step, float(np.mean(value, dtype=float))))
        if len(steps) > MOST_LOSSES:
            self._notes.append(f"{name}: {MOST_LOSSES:,} of {len(steps):,} saved steps")
        return [
            Loss(name, mode, [step for step, _ in seen], np.array([value for _, value in seen]))
            for mode, seen in by_mode.items()
        ]

    # gradients

    def gradients(self, names: Sequence[str]) -> Gradients | None:
        layers = spread(names, MOST_LAYERS)
        by_layer = {name: set(self.steps(name)) for name in layers}
        saved = sorted(set().union(*by_layer.values()))
        chosen = spread(saved, MOST_STEPS)
        if not chosen:
            return None
        if len(layers) < len(names):
            self._notes.append(f"gradients: {len(layers)} of {len(names):,} layers, evenly spread")
        sizes: dict[tuple[str, int], dict[str, float]] = {}
        read: list[int] = []
        for at in coarse_to_fine(len(chosen)):
            if self.late() and read:
                self._cut("gradients")
                break
            step = chosen[at]
            read.append(step)
            for name in layers:
                if step in by_layer[name]:
                    sizes[name, step] = self._sizes(name, step)
        read.sort()
        if len(read) < len(saved):
            self._notes.append(f"gradients: {len(read):,} of {len(saved):,} saved steps")
        measure = _measure(sizes.values())
        table = np.array(
            [[sizes.get((name, step), {}).get(measure, np.nan) for step in read] for name in layers]
        )
        plain = [name.removeprefix(GRADIENT) for name in layers]
        return Gradients(plain, read, table, MEASURES.get(measure, measure), len(names))

    def _sizes(self, name: str, step: int) -> dict[str, float]:
        value = self.value(name, step)
        if value is None:
            seen = self.reductions(name, step)
            return {kind: np.inf if np.isnan(each) else each for kind, each in seen.items()}
        return _sizes(value.reshape(-1))

    # distributions

    def distributions(self, kind: str, names: Sequence[str]) -> list[Distribution]:
        chosen = spread(names, MOST_DISTRIBUTIONS)
        if len(chosen) < len(names):
            self._notes.append(f"{kind}: {len(chosen)} of {len(names):,} tensors, evenly spread")
        made, cut = [], False
        for name in (chosen[at] for at in coarse_to_fine(len(chosen))):
            cut = cut or self.late()
            if cut:
                self._cut(kind)
                break
            found = self._distribution(kind, name)
            if found is not None:
                made.append(found)
        if chosen and not made and not cut:
            self._notes.append(f"{kind}: only reductions were saved, which have no distribution")
        order = {name: at for at, name in enumerate(names)}
        return sorted(made, key=lambda each: order[each.name])

    def _distribution(self, kind: str, name: str) -> Distribution | None:
        steps, samples, facts = [], [], []
        for step in spread(self.steps(name), MOST_COLUMNS):
            value = self.value(name, step)
            if value is None or not value.size or not np.issubdtype(value.dtype, np.number):
                continue
            flat = value.reshape(-1)
            broken = int(flat.size - np.count_nonzero(np.isfinite(flat)))
            # every so-many-th, and not a divisor of a layer's width, which would be one column
            sample = flat[:: -(-flat.size // MOST_VALUES) | 1].astype(np.float64)
            sample = sample[np.isfinite(sample)]
            steps.append(step)
            samples.append(sample)
            zeros = 1 - np.count_nonzero(flat) / flat.size
            mean, deviation = (sample.mean(), sample.std()) if sample.size else (np.nan, np.nan)
            facts.append((mean, deviation, zeros, broken, flat.size))
        if not steps:
            return None
        edges = _edges(np.concatenate(samples))
        counts = np.array(
            [np.histogram(np.clip(each, edges[0], edges[-1]), edges)[0] for each in samples]
        )
        columns = np.array(facts, np.float64).T
        return Distribution(
            name, kind, steps, edges, counts / np.maximum(counts.sum(1, keepdims=True), 1),
            mean=columns[0], deviation=columns[1], zeros=columns[2],
            broken=columns[3].astype(np.int64), values=int(columns[4].max()),
        )  # fmt: skip

    def _cut(self, what: str) -> None:
        self._notes.append(f"{what}: the time for reading tensors was over before all were read")


def _sizes(flat: NDArray[Any]) -> dict[str, float]:
    """By MEASURES; in pieces, for the largest layers have a hundred million values."""
    squares = absolute = total = largest = 0.0
    for start in range(0, flat.size, PIECE):
        piece = flat[start : start + PIECE].astype(np.float64)
        if not np.isfinite(piece).all():
            return dict.fromkeys(MEASURES, np.inf)
        squares += float(piece @ piece)
        total += float(piece.sum())
        magnitudes = np.abs(piece)
        absolute += float(magnitudes.sum())
        largest = max(largest, float(magnitudes.max()))
    if not flat.size:
        return {}
    mean = total / flat.size
    return {
        "l2": math.sqrt(squares),
        "abs_mean": absolute / flat.size,
        "abs_max": largest,
        "std": math.sqrt(max(0.0, squares / flat.size - mean * mean)),
    }


def _measure(seen: Any) -> str:
    """The one that most of the layers have."""
    counts: dict[str, int] = {}
    for sizes in seen:
        for kind in sizes:
            counts[kind] = counts.get(kind, 0) + 1
    wanted = [*MEASURES, *sorted(counts.keys() - MEASURES.keys())]
    return max(wanted, key=lambda kind: (counts.get(kind, 0), -wanted.index(kind)))


def _edges(values: Floats) -> Floats:
    """Of bins that hold all but the outermost thousandth, which falls into the outer bins."""
    if not values.size:
        return np.linspace(-1, 1, BINS + 1).astype(np.float64)
    low, high = (float(each) for each in np.quantile(values, (0.001, 0.999)))
    if not high > low:
        low, high = low - max(abs(low), 1e-6) / 2, high + max(abs(high), 1e-6) / 2
    return np.linspace(low, high, BINS + 1).astype(np.float64)
