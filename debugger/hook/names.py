"""Names of tensors, as smdebug has them, and the ready collections.

smdebug names a parameter `<Class>_<path>`, a gradient `gradient/<Class>_<path>`, what goes in and
out of a module `<path>_input_<i>` and `<path>_output_<i>`, where the outermost module's path is its
class; `i` counts on where a module is called several times in a step.
"""

import difflib
import re
from collections.abc import Iterable, Iterator

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

MOST_CALLS = 16
"""Indices that are thought of before a network has run."""
NEAR = 3
"""Names that are said to be near a pattern that matches nothing."""

PATTERNS = {
    "weights": ("^(?!gradient).*weight",),
    "biases": ("^(?!gradient).*bias",),
    "gradients": ("^gradient",),
    "losses": ("[Ll]oss_(?!input).*output",),
    "all": (".*",),
}
"""smdebug's own (pytorch/collection.py)."""

RELU = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU)
LAYERS: dict[str, tuple[tuple[type[nn.Module], ...], str]] = {
    "relu_output": (RELU, "output"),
    "relu_input": (RELU, "input"),
    "tanh_input": ((nn.Tanh,), "input"),
    "sigmoid_input": ((nn.Sigmoid,), "input"),
}
"""Ready collections that hold what goes into or out of all layers of some kinds, by their kind and
not by their name: in a sequence a layer's name is a number."""


def inner(network: nn.Module) -> nn.Module:
    """Without the wrappers of torch.compile and of data parallel training."""
    within = network
    if isinstance(network, DataParallel | DistributedDataParallel):
        within = network.module
    elif "_orig_mod" in dict(network.named_children()):
        within = network.get_submodule("_orig_mod")
    return network if within is network else inner(within)


def title(module: nn.Module) -> str:
    """smdebug takes this name."""
    return type(module).__name__


def modules(network: nn.Module) -> dict[nn.Module, str]:
    """Each once, under its first path."""
    return {module: path or title(network) for path, module in network.named_modules()}


def parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    return {f"{title(network)}_{path}": each for path, each in network.named_parameters()}


def of_module(name: str, calls: int = MOST_CALLS) -> Iterator[str]:
    for number in range(calls):
        yield f"{name}_input_{number}"
        yield f"{name}_output_{number}"


def possible(network: nn.Module, criterion: nn.Module, calls: int = MOST_CALLS) -> list[str]:
    """All that a run may save. Frozen parameters have no gradients."""
    found = []
    for name, parameter in parameters(network).items():
        found += [name, f"gradient/{name}"] if parameter.requires_grad else [name]
    for name in modules(network).values():
        found += of_module(name, calls)
    loss = title(criterion)
    return [*found, f"{loss}_input_0", f"{loss}_input_1", f"{loss}_output_0"]


def ready(collection: str, network: nn.Module, criterion: nn.Module) -> tuple[str, ...]:
    """Patterns of a collection for this network; none for a name that is nobody's."""
    if collection in PATTERNS:
        return PATTERNS[collection]
    if collection in LAYERS:
        kinds, side = LAYERS[collection]
        found = [name for module, name in modules(network).items() if isinstance(module, kinds)]
        return (rf"^(?:{'|'.join(map(re.escape, found))})_{side}_\d+$",) if found else ()
    loss = re.escape(title(criterion))
    return {
        "input_image": (rf"^{re.escape(title(network))}_input_\d+$",),
        "labels": (rf"^{loss}_input_1$",),
        "predictions": (rf"^{loss}_input_0$",),
    }.get(collection, ())


def matches(patterns: Iterable[str], name: str) -> bool:
    return any(re.search(pattern, name) for pattern in patterns)


def near(pattern: str, names: Iterable[str]) -> list[str]:
    """Names most like a pattern's plain letters."""
    plain = re.sub(r"\\[dwsDWSbB]", "", pattern).replace(".*", "").replace(r"\.", ".")
    plain = re.sub(r"[\\^$*+?()\[\]|{}]", "", plain)
    return difflib.get_close_matches(plain, list(names), NEAR, cutoff=0.5)
