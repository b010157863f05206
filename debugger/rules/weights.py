"""Which weights may be compared between two steps, for the rules that do.

Frozen weights never change and are no finding: they have no gradient, ever. Where no gradients
were saved, a weight that never moves counts as frozen if others move.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from debugger.rules.base import EVAL, TensorRule

PARAMETERS = ("weights", "biases")


def is_parameter(rule: TensorRule, name: str) -> bool:
    """A weight or a bias, which changes from update to update only."""
    return rule._is_member(name, PARAMETERS, ())


def compared(rule: TensorRule, name: str, step: int) -> bool:
    """Whether the parameter may be compared at this step: between two steps of an evaluation no
    update lies."""
    return rule.mode(step) != EVAL and rule.trained(name) is not False


def mean_size(value: NDArray[Any]) -> float:
    return float(np.mean(np.abs(value))) if value.size else 0.0
