"""Networks by name: torchvision's classifiers with a head of our own, and one from scratch."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from artifact.vision import models

SMALL_CNN = "small_cnn"

EXTRA_ARGUMENTS: dict[str, dict[str, object]] = {
    # auxiliary heads only serve their own published training; the input transform belongs to the
    # published weights, which expect another mean than ImageNet's
    "googlenet": {"aux_logits": False, "transform_input": True, "init_weights": True},
    "inception_v3": {"aux_logits": False, "transform_input": True, "init_weights": True},
}


class NetworkError(ValueError):
    """The name, the size of the photos or the number of classes does not make a network."""


class WithoutWeights(TorchFunctionMode):
    """Networks built within have weights without storage, to be replaced or never used.

    `torch.device("meta")` would do it for all tensors, but some networks compute their widths with
    tensors while they are built; weights alone come from `torch.empty`.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs.setdefault("device", "meta")
        return func(*args, **kwargs)


class SmallCNN(nn.Sequential):
    """Four convolution stages and a global average: learns small pictures from scratch on a CPU."""

    def __init__(self, num_classes: int, width: int = 32) -> None:
        stages: list[nn.Module] = []
        channels = 3
        for stage in range(4):
            wider = width << min(stage, 2)
            stages += [
                nn.Conv2d(channels, wider, 3, padding=1, bias=False),
                nn.BatchNorm2d(wider),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
            ]
            channels = wider
        super().__init__(
            *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)
        )


def names() -> list[str]:
    """Every network that can be trained: torchvision's classification networks, and ours."""
    return [SMALL_CNN, *models.list_models(module=models)]


def build(
    name: str, num_classes: int, hidden_units: Sequence[int] = (), image_size: int = 224
) -> nn.Module:
    """With random weights: N x 3 x `image_size` x `image_size` float -> N x classes logits.

    `hidden_units` are the sizes of extra fully connected layers before the last one. Raises
    NetworkError for a name or a size that does not exist.
    """
    if name not in names():
        raise NetworkError(f"no network is called {name!r}")
    arguments = dict(EXTRA_ARGUMENTS.get(name, {}))
    # transformers have a weight per patch, so they are built for one size
    if name.startswith("vit_"):
        arguments["image_size"] = image_size
    if name.startswith("maxvit"):
        arguments["input_size"] = (image_size, image_size)
    try:
        if name == SMALL_CNN:
            network: nn.Module = SmallCNN(num_classes)
        else:
            network = models.get_model(name, weights=None, num_classes=num_classes, **arguments)
    except (ValueError, AssertionError) as error:
        raise NetworkError(f"{name} with image_size={image_size}: {error}") from error
    if hidden_units:
        path = head_path(network)
        _replace(network, path, _deepen(network.get_submodule(path), hidden_units))
    return network


def check(
    name: str,
    num_classes: int,
    hidden_units: Sequence[int],
    image_size: int,
    train_on_one: bool = False,
) -> None:
    """Raises NetworkError where the network cannot take photos of this size, or, `train_on_one`,
    cannot be trained on one photo at a time; allocates nothing."""
    try:
        with WithoutWeights():
            network = build(name, num_classes, hidden_units, image_size).to("meta")
        images = 1 if train_on_one else 2
        network.train(train_on_one)
        network(torch.empty(images, 3, image_size, image_size, device="meta"))
    except NetworkError:
        raise
    except (RuntimeError, ValueError, AssertionError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        batch = " in mini-batches of 1" if train_on_one else ""
        raise NetworkError(f"{name} cannot take image_size={image_size}{batch}: {first}") from error


def head_path(network: nn.Module) -> str:
    """The path of the last layer with weights: in every classifier of torchvision that is the head.

    With extra layers it is the path of the sequence that holds all of them.
    """
    paths = [
        path
        for path, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
        # the parameters of a fused attention are no layer of their own
        and not path.endswith("out_proj")
    ]
    last = paths[-1]
    parent: str = last.rpartition(".")[0]
    return parent if isinstance(network.get_submodule(parent), Head) else last


def head(network: nn.Module) -> nn.Module:
    return network.get_submodule(head_path(network))


class Head(nn.Sequential):
    """Extra fully connected layers, then the last one; a class so that it can be found."""


def _deepen(last: nn.Module, hidden_units: Sequence[int]) -> Head:
    layers: list[nn.Module] = []
    if isinstance(last, nn.Conv2d):  # SqueezeNet's head is a 1 x 1 convolution
        size, classes = last.in_channels, last.out_channels
        for units in hidden_units:
            layers += [nn.Conv2d(size, units, 1), nn.ReLU()]
            size = units
        return Head(*layers, nn.Conv2d(size, classes, 1))
    assert isinstance(last, nn.Linear)
    size = last.in_features
    for units in hidden_units:
        layers += [nn.Linear(size, units), nn.ReLU()]
        size = units
    return Head(*layers, nn.Linear(size, last.out_features))


def _replace(network: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, module)


def load(network: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Puts `weights` (a whole state dict) in place of the network's own. Raises RuntimeError."""
    state = OrderedDict(weights)
    # some networks upgrade old files by a version that a file of plain tensors does not carry
    state._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]
    network.load_state_dict(state, strict=True, assign=True)


def of_pixels(values: Sequence[float], device: torch.device) -> torch.Tensor:
    """Means or deviations of channels, of values from 0 to 1 -> 1 x 3 x 1 x 1, from 0 to 255."""
    return torch.tensor([value * 255 for value in values], device=device).view(1, 3, 1, 1)


def normalised(pixels: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """N x H x W x 3 uint8 -> N x 3 x H x W float32, channels last; `mean` and `std` as above."""
    return (pixels.permute(0, 3, 1, 2).to(torch.float32) - mean) / std


def normalise(pixels: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """N x H x W x 3 uint8 -> N x 3 x H x W float32, channels last, (pixel / 255 - mean) / std."""
    device = pixels.device
    return normalised(pixels, of_pixels(mean, device), of_pixels(std, device))
