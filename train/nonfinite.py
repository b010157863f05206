"""Where infinities come from: the first module of a network whose numbers are not finite."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


@torch.no_grad()
def first_guilty(network: nn.Module, inputs: torch.Tensor) -> str:
    """Passes `inputs` once more, with a look at every module on the way; says what was first."""
    if not finite(inputs):
        return "the photos themselves are not finite"
    found: list[str] = []
    # a module is named after those inside it, so the first that is found is the innermost
    handles = [
        module.register_forward_hook(_look(name or "the network", found))
        for name, module in network.named_modules()
    ]
    try:
        network(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return f"first in {found[0]}" if found else "every module is finite, the loss is not"


def _look(name: str, found: list[str]) -> Callable[[nn.Module, Any, Any], None]:
    def look(module: nn.Module, inputs: Any, output: Any) -> None:
        if found:
            return
        title = f"{name} ({type(module).__name__})"
        kept = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        bad = [each for each, value in kept if not finite(value)]
        if bad and not (module.training and set(bad) <= RUNNING):
            found.append(f"{title}: its {' and '.join(bad)} holds numbers that are not finite")
        elif isinstance(output, torch.Tensor) and not finite(output):
            largest = max((each.abs().max().item() for each in inputs if each.numel()), default=0.0)
            found.append(
                f"{title}: its output is not finite, its weights are; its largest input is "
                f"{largest:.3g}"
            )

    return look


RUNNING = {"running_mean", "running_var"}
"""Statistics that a normalisation writes in training and reads in evaluation only."""


def finite(value: torch.Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())
