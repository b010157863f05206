"""A network cut in two: the backbone, which gives features, and the tail, which is trained."""

import hashlib
from typing import Any

import torch
from torch import nn

from artifact import network as networks


class Tail(nn.Sequential):
    """The head and what follows it, with the network's own weights: features -> logits."""


def tail(network: nn.Module) -> Tail:
    """Only SqueezeNet has anything behind its head: an activation and the mean over the picture."""
    path = networks.head_path(network)
    head = network.get_submodule(path)
    parent = network.get_submodule(path.rpartition(".")[0])
    layers = [head]
    if isinstance(parent, nn.Sequential):
        children = list(parent.children())
        layers += children[next(at for at, child in enumerate(children) if child is head) + 1 :]
    if any(isinstance(module, nn.Conv2d) for module in head.modules()):
        layers.append(nn.Flatten())
    return Tail(*layers)


class Backbone(nn.Module):
    """Images -> what the head would get. The network stays whole: its head is listened to."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._taken: torch.Tensor | None = None
        self._hook = networks.head(network).register_forward_pre_hook(self._take)

    def _take(self, head: nn.Module, arguments: Any) -> None:
        self._taken = arguments[0]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.network(images)
        assert self._taken is not None
        taken, self._taken = self._taken, None
        return taken

    def close(self) -> None:
        self._hook.remove()


def shape(name: str, image_size: int) -> tuple[int, ...]:
    """Of one photo's features; computed on shapes alone."""
    with networks.WithoutWeights():
        backbone = Backbone(networks.build(name, 2, image_size=image_size)).to("meta").eval()
    found: torch.Size = backbone(torch.empty(1, 3, image_size, image_size, device="meta")).shape
    return tuple(found[1:])


def digest(network: nn.Module) -> str:
    """The same for the same backbone, whatever the head."""
    head = f"{networks.head_path(network)}."
    found = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        if not name.startswith(head):
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()[:32]
