"""Which arithmetic the engine gets: int8, int8 but for some layers, bfloat16, float32.

Each is tried only where the one before was refused. What was tried, and why it was kept or not, is
told as it happens and goes into the artifact.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from artifact import archive, compiled
from artifact.inference import Classifier
from train import device
from train.compiled import convert, judge, material, quantise
from train.compiled.order import UNKNOWN, Made, Order, Photos

BATCH = 8
LEAST_JUDGED = 100
"""Photos that are judged however long they take, where there are as many."""
BY_ACCURACY = "int8 with layers in floats"
MOST_BY_ACCURACY = 300
"""Photos that quantisation by accuracy is steered by; the verdict is over all."""


class Candidates:
    """`say` is told what happens, a line at a time."""

    def __init__(self, order: Order, photos: Photos, say: Callable[[str], None]) -> None:
        self._order, self._photos, self._say = order, photos, say
        self._classifier = Classifier(Path(order.artifact))
        self._described = replace(self._classifier.description, compiled={})
        self.accuracies: dict[str, float] = {}
        self.tried: dict[str, str] = {}
        self._targets = photos.targets.copy()
        self._before: NDArray[np.bool_] | None = None
        self._count = 0

    def choose(self) -> tuple[Any, Made]:
        """The graph of OpenVINO to keep. Raises UnfitError where there is none."""
        start = time.monotonic()
        floats = convert.convert(self._classifier)
        convert.check(self._compiled(floats, "float32"), self._classifier)
        self._say(f"converted in {time.monotonic() - start:.1f} s")
        reason = self._int8_refused()
        if reason:
            return floats, self._made("float32", reason)
        graph = quantise.plain(floats, self._classifier.network, self._calibration())
        self._say(f"int8 after {time.monotonic() - start:.1f} s")
        if self._passes("int8", graph, "int8", floats):
            return graph, self._made("int8", self.tried["int8"])
        found = self._by_accuracy(floats)
        if found is not None and self._passes(BY_ACCURACY, found, "int8", floats):
            return found, self._made("int8", f"{BY_ACCURACY}: {self.tried[BY_ACCURACY]}")
        why = f"int8 is refused: {self.tried['int8']}"
        if device.bfloat16_pays(torch.device("cpu")):
            if self._passes("bfloat16", floats, "bfloat16", floats):
                return floats, self._made("bfloat16", why)
        else:
            self.tried["bfloat16"] = "not tried: this processor does not multiply in it"
        return floats, self._made("float32", why)

    def _int8_refused(self) -> str:
        """Why int8 is not even tried, or nothing."""
        if not len(self._photos.calibration) or not len(self._photos.judged):
            return "int8 needs photos to be calibrated and judged with, and there are none"
        return ""

    def _calibration(self) -> NDArray[np.uint8]:
        return np.asarray(self._photos.calibration)

    def _compiled(self, graph: Any, precision: str) -> compiled.Graph:
        described = replace(self._described, compiled={"precision": precision})
        return compiled.Graph(graph, described, self._order.threads)

    def _passes(self, name: str, graph: Any, precision: str, floats: Any) -> bool:
        answers = self._answers(self._compiled(graph, precision))
        if self._before is None:
            self._count = len(answers)
            self._before = self._floats_right(floats, self._count)
            self.accuracies["float32"] = float(self._before.mean())
        before, after = self._before, judge.right(answers, self._targets[: self._count])
        held_out = self._photos.held_out
        verdict = judge.verdict(before, after, self._order.tolerance, held_out)
        self.accuracies[name] = float(after.mean())
        self.tried[name] = verdict.why
        self._say(
            f"{name}: top-1 {after.mean():.4f}, {before.mean():.4f} in floats, "
            f"{'kept' if verdict.kept else 'refused'}: {verdict.why}"
        )
        return verdict.kept

    def _answers(self, graph: compiled.Graph) -> NDArray[np.float32]:
        """Of the judged photos, as many as there is time for; later candidates see no more."""
        judged = self._photos.judged
        most = self._count or len(judged)
        start, seconds = time.monotonic(), self._order.budget_seconds
        rows: list[NDArray[np.float32]] = []
        done = 0
        for first in range(0, most, BATCH):
            spent = time.monotonic() - start
            over = material.is_over(spent, done, seconds, material.LONGEST_SECONDS)
            if not self._count and done >= LEAST_JUDGED and over:
                self._say(f"judged on {done} of {most} photos: that is all there is time for")
                break
            rows.append(graph.classify(np.ascontiguousarray(judged[first : first + BATCH])))
            done += len(rows[-1])
        return np.concatenate(rows)[:most]

    def _floats_right(self, floats: Any, count: int) -> NDArray[np.bool_]:
        """As the job's evaluation saw it; computed only where it did not say."""
        known = self._photos.right[:count]
        if not (known == UNKNOWN).any():
            return np.asarray(known == 1)
        answers = self._answers(self._compiled(floats, "float32"))
        if self._targets.ndim == 1:
            targets = self._targets[:count]  # a view: what is unknown is known from here on
            targets[targets == UNKNOWN] = answers.argmax(1)[targets == UNKNOWN]
        return judge.right(answers, self._targets[:count])

    def _by_accuracy(self, floats: Any) -> Any | None:
        """None where it does not come to an end in time."""
        self._say("int8 is refused so far: looking for the layers that lose the most")
        judged = self._photos.judged[: min(self._count, MOST_BY_ACCURACY)]

        def rate(model: Any, at: list[int]) -> tuple[float, list[list[NDArray[np.float32]]]]:
            rows = [np.array(model(quantise.planes(judged[each]))[0][0]) for each in at]
            right = judge.right(np.stack(rows), self._targets[at])
            return float(right.mean()), [[row] for row in rows]

        deadline = time.monotonic() + 2 * self._order.budget_seconds
        try:
            return quantise.by_accuracy(
                floats, self._classifier.network, self._calibration(), rate, judged,
                self._order.tolerance / 100, deadline,
            )  # fmt: skip
        except quantise.OutOfTimeError:
            self.tried[BY_ACCURACY] = "not found in the time there was"
        except Exception as error:  # the library's; the float engine is still to be had
            self.tried[BY_ACCURACY] = f"failed: {type(error).__name__}: {str(error)[:200]}"
        self._say(f"{BY_ACCURACY}: {self.tried[BY_ACCURACY]}")
        return None

    def _made(self, precision: str, decision: str) -> Made:
        from importlib import metadata

        return Made(
            precision,
            decision,
            self._count,
            len(self._photos.calibration) if "int8" in self.tried else 0,
            self.accuracies,
            self.tried,
            {name: metadata.version(name) for name in ("openvino", "nncf")},
        )


def save(graph: Any, folder: Path) -> None:
    """The graph as the artifact's files."""
    (folder / archive.ENGINE).mkdir(exist_ok=True)
    openvino = compiled.runtime()
    # halves would be another rounding than the one that was judged
    openvino.save_model(graph, folder / archive.ENGINE_GRAPH, compress_to_fp16=False)
