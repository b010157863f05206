"""Whether a network gains from a compiled engine."""

from train import device

WORTH_FLOPS = 1e8
"""Of one photo's forward pass. Below it decoding is nearly all of an answer's time, and int8 wins
nothing."""


def worth(network: str, image_size: int) -> bool:
    return device.forward_flops(network, image_size) >= WORTH_FLOPS
