"""What is mixed, how much of it, and that a resumed run mixes the same."""

import numpy as np
import pytest
import torch

from train.mix import Mix
from train.schedule import Spec


def spec(step=0, first=7):
    return Spec(0, step, np.array([first, 1, 2, 3]), 4, True)


def photos():
    """Four photos, each of one value: a mixed pixel tells how much of which is in it."""
    return torch.tensor([1.0, 10.0, 100.0, 1000.0]).view(4, 1, 1, 1).expand(4, 3, 8, 8).clone()


TARGETS = torch.tensor([0, 1, 2, 3])
VALUES = torch.tensor([1.0, 10.0, 100.0, 1000.0])


@pytest.mark.parametrize("step", range(5))
def test_mixup_blends_every_pixel_as_it_blends_the_targets(step):
    inputs, goals = Mix(0.4, 0.0, 4, seed=0)(photos(), TARGETS, spec(step))

    assert torch.allclose(goals.sum(1), torch.ones(4))
    assert torch.allclose(inputs, (goals @ VALUES).view(4, 1, 1, 1).expand_as(inputs), rtol=1e-5)


@pytest.mark.parametrize("step", range(8))
def test_a_targets_share_is_that_of_the_pasted_area(step):
    inputs, goals = Mix(0.0, 1.0, 4, seed=0)(photos(), TARGETS, spec(step))

    area = torch.stack([(inputs[:, 0] == value).float().mean((1, 2)) for value in VALUES], 1)
    assert torch.allclose(goals, area, atol=1e-6)


def test_mixing_depends_on_seed_and_micro_batch_alone():
    first = Mix(0.4, 1.0, 4, seed=3)(photos(), TARGETS, spec(2))
    torch.manual_seed(99)

    again = Mix(0.4, 1.0, 4, seed=3)(photos(), TARGETS, spec(2))
    others = [Mix(0.4, 1.0, 4, 4)(photos(), TARGETS, spec(2)),
              Mix(0.4, 1.0, 4, 3)(photos(), TARGETS, spec(3)),
              Mix(0.4, 1.0, 4, 3)(photos(), TARGETS, spec(2, first=0))]  # fmt: skip

    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert not any(torch.equal(first[0], other[0]) for other in others)


def test_several_labels_are_mixed_too():
    rows = torch.tensor([[1, 1], [0, 0]], dtype=torch.uint8)

    _, goals = Mix(5.0, 0.0, 2, seed=0)(photos()[:2], rows, spec())

    assert torch.allclose(goals.sum(0), torch.ones(2))


@pytest.mark.parametrize(
    ("mix", "inputs"),
    [
        pytest.param(Mix(0.0, 0.0, 4, 0), photos(), id="off"),
        pytest.param(Mix(0.0, 1.0, 4, 0), torch.ones(4, 9), id="features have no boxes"),
        pytest.param(Mix(0.4, 1.0, 4, 0), photos()[:1], id="one photo"),
    ],
)
def test_what_cannot_be_mixed_stays_as_it_is(mix, inputs):
    targets = TARGETS[: len(inputs)]

    mixed, goals = mix(inputs, targets, spec())

    assert mixed is inputs
    assert goals is targets
