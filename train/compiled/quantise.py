"""A float graph -> the same in int8: NNCF's post-training quantisation, quick or by accuracy."""

import logging
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from artifact import compiled

SMOOTH = (nn.Hardswish, nn.SiLU, nn.GELU, nn.ELU)
"""Activations that go below zero: their range is not symmetric."""
RANKED = 64
"""Photos by which layers are ranked, when some are to stay in floats."""
MOST_REVERTED = 12
"""Layers that may stay in floats: with more of them int8 is no longer quick."""


class OutOfTimeError(Exception):
    """Quantisation by accuracy took longer than it may."""


def _library() -> Any:
    """NNCF without telemetry, which would look up a host, and without its bars."""
    compiled.runtime()
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import nncf

    nncf.set_log_level(logging.ERROR)
    return nncf


def _options(nncf: Any, network: nn.Module, photos: int) -> dict[str, Any]:
    attention = any(isinstance(each, nn.MultiheadAttention) for each in network.modules())
    named = any("attn" in name or "attention" in name for name, _ in network.named_modules())
    smooth = any(isinstance(each, SMOOTH) for each in network.modules())
    return {
        "subset_size": photos,
        "model_type": nncf.ModelType.TRANSFORMER if attention or named else None,
        "preset": nncf.QuantizationPreset.MIXED if smooth else None,
    }


def planes(photo: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.ascontiguousarray(photo.transpose(2, 0, 1)[None], np.float32)


def plain(graph: Any, network: nn.Module, calibration: NDArray[np.uint8]) -> Any:
    """`calibration` are photos of the training, N x H x W x 3: they show how large numbers get."""
    nncf = _library()
    photos = nncf.Dataset([*calibration], planes)
    return nncf.quantize(graph, photos, **_options(nncf, network, len(calibration)))


def by_accuracy(
    graph: Any,
    network: nn.Module,
    calibration: NDArray[np.uint8],
    rate: Callable[[Any, list[int]], tuple[float, list[list[NDArray[np.float32]]]]],
    judged: NDArray[np.uint8],
    most_lost: float,
    deadline: float,
) -> Any:
    """With the layers in floats that lose the most. `rate` gives a compiled model's accuracy and
    answers on those of `judged` of these numbers; `most_lost` is a share. Raises OutOfTimeError."""
    nncf = _library()

    def timely(model: Any, positions: Iterable[Any]) -> Any:
        if time.monotonic() > deadline:
            raise OutOfTimeError
        return rate(model, [int(position) for position in positions])

    options = _options(nncf, network, len(calibration))
    return nncf.quantize_with_accuracy_control(
        graph,
        nncf.Dataset([*calibration], planes),
        nncf.Dataset(list(range(len(judged))), lambda at: planes(judged[at])),
        timely,
        max_drop=most_lost,
        **options,
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
            max_num_iterations=MOST_REVERTED,
            ranking_subset_size=RANKED,
            # its own plan divides by a time that may be none
            num_ranking_workers=1,
        ),
    )
