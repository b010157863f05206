"""Which weights learn at which rate, and which decay."""

import pytest
from torch import nn

from train import optimizer
from train.hyperparameters import Hyperparameters


def rates(**given):
    """(rate, decays, number of parameters) of every group, at a rate of 1."""
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    made = optimizer.make(Hyperparameters(**given), network)
    optimizer.set_rate(made, 1.0)
    return {
        (group["lr"], group["weight_decay"] > 0, len(group["params"]))
        for group in made.param_groups
    }


@pytest.mark.parametrize(
    ("given", "backbone"),
    [
        pytest.param({"fine_tune": "all"}, 0.1, id="trained weights"),
        pytest.param({"fine_tune": "all", "pretrained": False}, 1.0, id="random weights"),
        pytest.param({"backbone_learning_rate_factor": 0.3}, 0.3, id="given"),
    ],
)
def test_a_trained_backbone_learns_at_a_part_of_the_heads_rate(given, backbone):
    assert rates(**given) == {
        (backbone, True, 1), (backbone, False, 3), (1.0, True, 1), (1.0, False, 1),
    }  # fmt: skip


def test_a_rate_that_is_still_to_be_found_makes_an_optimizer():
    for rule in ("sgd", "adam", "adamw"):
        assert rates(optimizer=rule, learning_rate=-1.0, fine_tune="all", pretrained=False)
