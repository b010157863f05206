"""Pretrained weights: where they come from, and how they get into a network with another head.

Tried in order: the `pretrained` channel, a folder of weights in the image, torchvision's download.
Nothing but tensors is ever read.
"""

import os
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from artifact import archive
from artifact.network import SMALL_CNN, head_path
from artifact.vision import models
from container.failure import PretrainedError
from train import published

BAKED_FOLDER = "PRETRAINED_DIR"
"""Environment variable: the image's folder of weights, `<network>.safetensors` or `.pth`."""

SUFFIXES = (".safetensors", ".pth", ".pt")
DOWNLOAD_TIMEOUT_SECONDS = 15
"""Of one connection: in a network without a way out it would hang for minutes."""

Tensors = dict[str, torch.Tensor]


def load(
    network: nn.Module,
    name: str,
    channel: Path | None,
    labels: list[str],
    say: Callable[[str], None],
) -> None:
    """Puts trained weights into the network's backbone, in place; into the head too where they are
    of an artifact with the same labels. Raises PretrainedError."""
    source = _in_channel(channel) if channel else _baked(name)
    if source is None:
        say(f"pretrained: downloading the weights of {name}")
        weights, origin = _download(name), "torchvision's download"
        keep_head = False
    else:
        weights, origin = _read(source), source.name
        keep_head = _labels(source) == labels and _head_fits(network, weights)
    taken = _put(network, published.renamed(weights), origin, keep_head)
    say(f"pretrained: {taken} tensors of the {'whole network' if keep_head else 'backbone'} "
        f"from {origin}")  # fmt: skip


def _in_channel(channel: Path) -> Path:
    """The one file of weights in the channel; of an artifact, its weights."""
    try:
        return archive.find(channel) / archive.WEIGHTS
    except archive.ArtifactError as error:
        if list(channel.rglob(archive.DESCRIPTION)):
            raise PretrainedError(str(error)) from error
    files = sorted(path for path in channel.rglob("*") if path.suffix.lower() in SUFFIXES)
    files = [path for path in files if not path.name.startswith(".")]
    if len(files) != 1:
        seen = ", ".join(path.name for path in sorted(channel.rglob("*"))[:5]) or "nothing"
        raise PretrainedError(
            f"the pretrained channel holds {len(files)} files of weights (seen: {seen})",
            "put one .pth, one .safetensors, or one artifact into it",
        )
    return files[0]


def _baked(name: str) -> Path | None:
    folder = os.environ.get(BAKED_FOLDER)
    if not folder:
        return None
    paths = (Path(folder) / f"{name}{suffix}" for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def _labels(weights: Path) -> list[str] | None:
    """Labels of the artifact that the weights belong to, if they belong to one."""
    try:
        return archive.read_description(weights.parent).labels
    except archive.ArtifactError:
        return None


def _head_fits(network: nn.Module, weights: Tensors) -> bool:
    """Whether the weights' head has the same layers as the network's."""
    last = head_path(network)
    return all(
        key in weights and weights[key].shape == value.shape
        for key, value in network.state_dict().items()
        if key.startswith(f"{last}.")
    )


def _read(path: Path) -> Tensors:
    try:
        if path.suffix == ".safetensors":
            weights: Any = load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        first = (str(error).split(". ")[0].splitlines() or [type(error).__name__])[0]
        raise PretrainedError(
            f"{path.name} is no file of plain tensors: {first}",
            "save a state dict: torch.save(network.state_dict(), path)",
        ) from error
    tensors = isinstance(weights, dict) and all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in weights.items()
    )
    if not tensors or not weights:
        raise PretrainedError(
            f"{path.name} holds a {type(weights).__name__}, not a state dict of tensors",
            "save a state dict: torch.save(network.state_dict(), path)",
        )
    return dict(weights)


def _download(name: str) -> Tensors:
    if name == SMALL_CNN:
        raise PretrainedError(
            f"there are no published weights of {SMALL_CNN}",
            "set pretrained=false, or give a pretrained channel with an artifact of it",
        )
    file = models.get_model_weights(name).DEFAULT
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        weights = file.get_state_dict(progress=False, check_hash=True, weights_only=True)
    # no network; a file of another hash; or one that holds more than tensors
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise PretrainedError(f"weights of {name} cannot be downloaded: {error}") from error
    finally:
        socket.setdefaulttimeout(before)
    return dict(weights)


def _put(network: nn.Module, weights: Tensors, origin: str, keep_head: bool) -> int:
    """Copies by name. Raises PretrainedError where the backbone's names or shapes differ."""
    own = network.state_dict()
    last = head_path(network)
    wanted = [key for key in own if keep_head or not key.startswith(f"{last}.")]
    # a counter that files of older versions lack, and that nothing here uses
    required = [key for key in wanted if not key.endswith("num_batches_tracked")]
    missing = [key for key in required if key not in weights]
    if missing:
        raise PretrainedError(
            f"{origin} lacks {len(missing)} of {len(required)} tensors of the network's backbone "
            f"({', '.join(missing[:3])}): it is of another network",
        )
    shapes = [
        f"{key} {tuple(weights[key].shape)} instead of {tuple(own[key].shape)}"
        for key in required
        if weights[key].shape != own[key].shape
    ]
    if shapes:
        raise PretrainedError(f"{origin} has other shapes: {', '.join(shapes[:3])}")
    taken = {key: weights[key] for key in wanted if key in weights}
    network.load_state_dict({**own, **taken}, strict=True)
    return len(taken)
