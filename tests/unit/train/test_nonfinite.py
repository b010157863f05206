"""A loss that is no number is traced to the module where it began."""

import pytest
import torch
from torch import nn

from train.nonfinite import first_guilty


class Explode(nn.Module):
    def forward(self, inputs):
        return inputs * 1e30 * 1e30


def network(spoil=None):
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Sequential(nn.Linear(4, 4)))
    if spoil:
        with torch.no_grad():
            made.get_parameter(spoil).view(-1)[0] = float("nan")
    return made


@pytest.mark.parametrize(
    ("made", "words"),
    [
        pytest.param(network("0.bias"), "first in 0 (Linear): its bias holds", id="first weight"),
        pytest.param(network("2.0.weight"), "first in 2.0 (Linear): its weight", id="nested"),
        pytest.param(
            nn.Sequential(nn.Identity(), Explode(), nn.ReLU()),
            "first in 1 (Explode): its output is not finite, its weights are; its largest input",
            id="overflow",
        ),
        pytest.param(network(), "every module is finite, the loss is not", id="only the loss"),
    ],
)
def test_the_first_guilty_module_is_named(made, words):
    said = first_guilty(made, torch.ones(3, 4))

    assert words in said
    assert not any(module._forward_hooks for module in made.modules())


def test_statistics_that_a_training_pass_does_not_read_are_not_blamed():
    made = network("2.0.weight")
    made[1].running_mean.fill_(float("nan"))

    assert "first in 2.0" in first_guilty(made, torch.ones(3, 4))
    assert "first in 1 (BatchNorm1d)" in first_guilty(made.eval(), torch.ones(3, 4))


def test_photos_that_are_no_numbers_are_named():
    assert "photos" in first_guilty(network(), torch.full((2, 4), float("inf")))
