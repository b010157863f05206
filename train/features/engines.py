"""What computes features: OpenVINO on a CPU where it is installed, torch elsewhere.

Which one, and in which arithmetic, follows from the machine and the network alone: a choice by a
measured trial could fall differently after a restart, and the resumed run would be another one.
"""

import importlib.util
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from artifact.compiled import core
from artifact.network import normalise
from artifact.preprocess import Preprocessing
from container import resources
from train import device as devices
from train import memory
from train.features.tail import Backbone

WORTH_FLOPS = 1e8
"""Of one photo's forward pass. Below it decoding is all the work there is, and the two seconds that
converting a network takes are never won back."""

TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}
"""Between an engine's features and torch's in float32, in parts of the features' own size."""


class UnfitError(Exception):
    """The engine cannot compute this network, or not rightly."""


@dataclass(frozen=True)
class Plan:
    """Which engine, and the arithmetic that its rows are kept in."""

    engine: str
    dtype: str

    @property
    def name(self) -> str:
        """With the version: another one rounds differently."""
        return f"{self.engine}-{metadata.version(self.engine)}-{self.dtype}"


class Engine(Protocol):
    def compute(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        """N x H x W x 3 pixels -> rows as they are kept; N is always the same."""
        ...


class Fitting:
    """An engine for so many photos at a time as memory does for, made when it is first needed."""

    def __init__(self, made: Callable[[int], Engine], size: int) -> None:
        self._made, self._size = made, size
        self._engine: Engine | None = None
        self._tried: int | None = None

    def compute(self, images: torch.Tensor) -> NDArray[Any]:
        """Of any number of photos. Raises UnfitError."""
        while True:
            try:
                self._engine = self._engine or self._made(self._size)
                return np.concatenate(
                    [
                        _filled(self._engine, part, self._size)
                        for part in torch.split(images, self._size)
                    ]
                )
            except (RuntimeError, MemoryError) as error:
                self._engine = None  # its memory is wanted
                self._size = self._tried = memory.smaller(error, self._size, None, self._tried)


def _filled(engine: Engine, images: torch.Tensor, size: int) -> NDArray[Any]:
    """Always `size` photos, filled up with black ones: a row must not depend on how many others
    happened to be computed with it."""
    count = len(images)
    if count < size:
        images = torch.cat([images, images.new_zeros(size - count, *images.shape[1:])])
    return engine.compute(images.numpy())[:count]


def plans(device: torch.device, dtype: torch.dtype, flops: int) -> list[Plan]:
    """The best first; the last one computes every network."""
    name = str(dtype).removeprefix("torch.")
    found = [Plan("torch", name)]
    # elsewhere OpenVINO takes a wish for half precision as one for float32, without a word
    half = dtype is torch.bfloat16 and devices.bfloat16_pays(device)
    installed = importlib.util.find_spec("openvino") is not None
    pays = device.type == "cpu" and flops >= WORTH_FLOPS
    if installed and pays and (dtype is torch.float32 or half):
        found.insert(0, Plan("openvino", name))
    return found


def build(
    plan: Plan,
    backbone: Backbone,
    preprocessing: Preprocessing,
    device: torch.device,
    batch: int,
) -> Engine:
    """Raises UnfitError. The network must be in evaluation mode."""
    plain = TorchEngine(backbone, preprocessing, device, torch.float32)
    if plan.engine == "torch":
        return TorchEngine(backbone, preprocessing, device, getattr(torch, plan.dtype))
    made = OpenvinoEngine(backbone, preprocessing, plan.dtype, batch)
    _compare(made, plain, preprocessing.image_size, batch, plan.dtype)
    return made


def _compare(made: Engine, plain: Engine, side: int, batch: int, dtype: str) -> None:
    """Features of noise by both engines. Raises UnfitError where they differ by more than rounding:
    a converter's mistake would otherwise become the model's."""
    random = np.random.default_rng(0)
    images = np.zeros((batch, side, side, 3), np.uint8)
    images[:1] = random.integers(0, 256, (1, side, side, 3))
    mine, theirs = made.compute(images)[:1], plain.compute(images[:1])
    if dtype == "bfloat16":
        mine = (mine.astype(np.uint32) << 16).view(np.float32)
    distance = float(np.abs(mine.astype(np.float32) - theirs).max())
    size = float(np.abs(theirs).max())
    if not distance <= TOLERANCE[dtype] * size:
        raise UnfitError(f"its features are {distance:.3g} off, of {size:.3g}")


def kept(features: torch.Tensor, dtype: torch.dtype) -> NDArray[Any]:
    """A tensor as the store keeps it: bfloat16 as its bits."""
    features = features.to(dtype).cpu().contiguous()
    if dtype is torch.bfloat16:
        return features.view(torch.int16).numpy().view(np.uint16)
    found: NDArray[Any] = features.numpy()
    return found


class TorchEngine:
    def __init__(
        self,
        backbone: Backbone,
        preprocessing: Preprocessing,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._backbone, self._rules = backbone, preprocessing
        self._device, self._dtype = device, dtype

    @torch.no_grad()
    def compute(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        pixels = torch.from_numpy(images).to(self._device)
        half = self._dtype is not torch.float32
        with torch.autocast(self._device.type, self._dtype, enabled=half):
            features = self._backbone(normalise(pixels, self._rules.mean, self._rules.std))
        return kept(features, self._dtype)


class OpenvinoEngine:
    def __init__(
        self, backbone: Backbone, preprocessing: Preprocessing, dtype: str, batch: int
    ) -> None:
        side = preprocessing.image_size
        hint = {"float32": "f32", "bfloat16": "bf16"}[dtype]
        try:
            openvino = _openvino()
            with torch.no_grad(), warnings.catch_warnings():
                # the converter traces, which torch calls deprecated
                warnings.simplefilter("ignore")
                model = openvino.convert_model(
                    backbone, example_input=torch.zeros(1, 3, side, side)
                )
            model = _from_pixels(openvino, model, preprocessing)
            model.reshape([batch, side, side, 3])
            compiled = core().compile_model(
                model,
                "CPU",
                {
                    "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_PRECISION_HINT": hint,
                    "INFERENCE_NUM_THREADS": resources.cpu_count(),
                },
            )
            self._request = compiled.create_infer_request()
        except Exception as error:  # whatever a converter raises, torch computes this network, too
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UnfitError(first[:200]) from error
        self._dtype: torch.dtype = getattr(torch, dtype)

    def compute(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        # shared: the next call may write where the last one's answer was, so it is copied at once
        answer = self._request.infer({0: images}, share_inputs=True, share_outputs=True)
        return kept(torch.from_numpy(answer[0].copy()), self._dtype)


def _openvino() -> Any:
    """OpenVINO without its telemetry, which looks up a host at import and writes into the home
    folder: without the package, OpenVINO takes a stub of its own."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _from_pixels(openvino: Any, model: Any, preprocessing: Preprocessing) -> Any:
    """With the normalisation inside, so that a quarter of the bytes goes in."""
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(model)
    given = steps.input()
    given.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    given.model().set_layout(openvino.Layout("NCHW"))
    given.preprocess().convert_element_type(openvino.Type.f32).mean(
        [255 * value for value in preprocessing.mean]
    ).scale([255 * value for value in preprocessing.std])
    return steps.build()
