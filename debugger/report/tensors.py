"""What the report shows of saved tensors, and how much of them at most.

Steps are global ones, which count training and evaluation: those that rules name.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

MOST_STEPS = 120
"""Saved steps that are read; losses, being single numbers, of more: MOST_LOSSES."""
MOST_LOSSES = 1500
MOST_LAYERS = 240
"""Rows of the heat map of gradients."""
MOST_DISTRIBUTIONS = 24
"""Tensors whose values are shown, of weights and of activations each."""
MOST_COLUMNS = 40
"""Steps of those."""
MOST_VALUES = 2048
"""Of one tensor at one step that go into its histogram."""
MOST_SECONDS = 90.0
BINS = 48

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Gradients:
    layers: list[str]
    """Names of the parameters, in the order in which the network uses them."""
    steps: list[int]
    sizes: Floats
    """Layers × steps, NaN where none was saved, infinite where a value is NaN or infinite."""
    measure: str
    """What a size is: `L2 norm`, or the reduction that was saved instead."""
    saved_layers: int


@dataclass(frozen=True)
class Distribution:
    """The values of one tensor over time."""

    name: str
    kind: str
    """`weights` or `activations`."""
    steps: list[int]
    edges: Floats
    """Of BINS bins, the same at all steps."""
    shares: Floats
    """Steps × bins, of the values that were looked at; 0 to 1."""
    mean: Floats
    deviation: Floats
    zeros: Floats
    """Share of zeros, of all values."""
    broken: NDArray[np.int64]
    """Values that are NaN or infinite, of all."""
    values: int
    """Of the tensor at one step."""


@dataclass(frozen=True)
class Loss:
    name: str
    mode: str
    """`TRAIN`, `EVAL`, ...: smdebug's words."""
    steps: list[int]
    values: Floats


@dataclass(frozen=True)
class Digest:
    saved_steps: int
    tensors: int
    gradients: Gradients | None = None
    distributions: list[Distribution] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Where less was read than was saved: sentences for the reader."""
