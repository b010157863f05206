"""Probabilities -> the accepted type of answer, in the order of the request's items.

In every JSON form an item that failed is `{"error", "index"}` with its place in the request. CSV
and .npy have room for numbers only: its row there is all `nan`, so that the rows stay in step.
"""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve import accept, npy
from serve.heat.grid import Heat
from serve.refusal import PayloadError

Probabilities = NDArray[np.float32]


@dataclass(frozen=True)
class Outcome:
    """Of one item: `probabilities` in label order, or an `error`."""

    probabilities: Probabilities | None = None
    error: PayloadError | None = None
    id: str | int | float | bool | None = None
    heat: Heat | None = None
    """Where it was asked for."""


@dataclass(frozen=True)
class Form:
    """How an answer is written."""

    accept: str
    labels: list[str]
    top_k: int
    thresholds: list[float] = field(default_factory=list)
    """Of several labels a photo: the probability from which it is given each."""
    bare: bool = False
    """JSON is the probabilities alone, as the platform's explainer and the MXNet algorithm have."""


def is_distribution(row: Probabilities) -> bool:
    """False where numbers overflowed in the network."""
    return bool(np.isfinite(row).all())


def check(outcomes: list[Outcome]) -> None:
    """Raises PayloadError where no item succeeded: an answer of errors only is no success."""
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if len(errors) < len(outcomes):
        return
    if len(errors) == 1:
        raise errors[0]
    details = [_failed(place, error) for place, error in enumerate(errors)]
    failure = PayloadError(f"all {len(errors)} items failed: {errors[0].message}", errors=details)
    failure.status = errors[0].status if len({error.status for error in errors}) == 1 else 400
    raise failure


class Writer:
    """The answer as it grows: what has been answered is held once, in the form it is sent in."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._written = bytearray()
        self._count = 0

    def add(self, outcomes: list[Outcome]) -> None:
        """The next ones, in the order of the request's items."""
        form = self._form
        if form.accept in (accept.NPY, accept.CSV):
            rows = _rows(outcomes, len(form.labels))
            if form.accept == accept.NPY:
                self._written += rows.tobytes()
            else:
                self._written += "".join(",".join(map(str, row)) + "\n" for row in rows).encode()
        else:
            for place, outcome in enumerate(outcomes, self._count):
                self._write_json(place, outcome)
        self._count += len(outcomes)

    def _write_json(self, place: int, outcome: Outcome) -> None:
        form = self._form
        if form.accept == accept.JSON_LINES:
            self._written += _dump(_line(place, outcome, form)) + b"\n"
            return
        if place:
            self._written += b", "
        if form.accept == accept.VERBOSE:
            self._written += _dump(_verbose(place, outcome, form))
        else:
            self._written += _dump(_bare(outcome) if form.bare else _entry(place, outcome, form))

    def whole(self, single: bool) -> tuple[bytes, str]:
        """The body and its content type. `single`: the request's form held one image, no list."""
        form, written = self._form, bytes(self._written)
        if form.accept == accept.NPY:
            rows = np.frombuffer(written, np.float32).reshape(self._count, len(form.labels))
            return npy.write(rows), accept.NPY
        if form.accept == accept.CSV:
            return written, f"{accept.CSV}; charset=utf-8"
        if form.accept == accept.JSON_LINES:
            return written, accept.JSON_LINES
        if form.accept == accept.JSON and form.bare:
            return (written if single else b"[" + written + b"]"), accept.JSON
        if form.accept == accept.VERBOSE and single:
            return written, accept.JSON
        return b'{"predictions": [' + written + b"]}", accept.JSON


def _dump(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode("ascii")


def _failed(place: int, error: PayloadError) -> dict[str, Any]:
    return {**error.as_dict(), "index": place}


def _number(probability: np.float32) -> float:
    """The shortest decimal that stands for the same float32."""
    return float(str(probability))


def _named(index: int, outcome: Probabilities, labels: list[str]) -> dict[str, Any]:
    return {"label": labels[index], "index": index, "probability": _number(outcome[index])}


def _entry(place: int, outcome: Outcome, form: Form) -> dict[str, Any]:
    row = outcome.probabilities
    if row is None:
        return _with_id(_failed(place, _error(outcome)), outcome)
    # stable: of equal probabilities the lower index comes first, on every machine
    order = np.argsort(-row, kind="stable")[: form.top_k]
    top = [_named(int(index), row, form.labels) for index in order]
    entry = {**top[0], "top_k": top, **_given(row, form), **_explained(outcome, form)}
    return _with_id(entry, outcome)


def _verbose(place: int, outcome: Outcome, form: Form) -> dict[str, Any]:
    row = outcome.probabilities
    if row is None:
        return _with_id(_failed(place, _error(outcome)), outcome)
    entry = {
        "probabilities": [_number(probability) for probability in row],
        "labels": form.labels,
        "predicted_label": form.labels[int(row.argmax())],
        **_given(row, form),
        **_explained(outcome, form),
    }
    return _with_id(entry, outcome)


def _line(place: int, outcome: Outcome, form: Form) -> dict[str, Any]:
    row = outcome.probabilities
    if row is None:
        return _with_id(_failed(place, _error(outcome)), outcome)
    numbers = [_number(probability) for probability in row]
    label = form.labels[int(row.argmax())]
    entry: dict[str, Any] = {"prediction": numbers, "label": label}
    entry |= {**_given(row, form), **_explained(outcome, form)}
    return _with_id(entry, outcome)


def _given(row: Probabilities, form: Form) -> dict[str, list[str]]:
    """Where a photo may have several labels: all that it is given, in label order; maybe none."""
    if not form.thresholds:
        return {}
    given = zip(form.labels, row, form.thresholds, strict=True)
    return {"predicted_labels": [label for label, seen, least in given if seen >= least]}


def _bare(outcome: Outcome) -> list[float] | None:
    """`null` for one that failed, so that the others keep their places."""
    row = outcome.probabilities
    return None if row is None else [_number(probability) for probability in row]


def _explained(outcome: Outcome, form: Form) -> dict[str, Any]:
    """`heatmap` is rows x columns of 0 to 1 over the square that the network saw."""
    heat = outcome.heat
    if heat is None:
        return {}
    about = {
        "label": form.labels[heat.label],
        "index": heat.label,
        "method": heat.method,
        "milliseconds": round(1000 * heat.seconds, 2),
    }
    grid = [[round(float(cell), 4) for cell in row] for row in heat.grid]
    return {"heatmap": grid, "explanation": about}


def _error(outcome: Outcome) -> PayloadError:
    return outcome.error or PayloadError("no answer")


def _with_id(entry: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    return entry if outcome.id is None else {**entry, "id": outcome.id}


def _rows(outcomes: list[Outcome], classes: int) -> Probabilities:
    missing = np.full(classes, np.nan, np.float32)
    rows = [missing if row is None else row for row in (each.probabilities for each in outcomes)]
    return np.stack(rows)
