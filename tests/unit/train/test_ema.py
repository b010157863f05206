"""The average that is evaluated and kept, and the network that goes on learning beside it."""

import pytest
import torch
from torch import nn

from train import ema
from train.ema import Average
from train.hyperparameters import Hyperparameters


def made(decay, value=0.0):
    """A network of one weight, with statistics; and its average."""
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    nn.init.constant_(network[0].weight, value)
    return network, Average(network, decay)


def move(network, average, *values):
    for value in values:
        nn.init.constant_(network[0].weight, value)
        network[1].running_mean.fill_(value)
        average.update()


def averaged(network, average):
    with average.in_place():
        return network[0].weight.item(), network[1].running_mean.item()


def test_the_first_updates_weigh_more_than_the_decay_says():
    network, average = made(0.999)

    move(network, average, 1.0, 2.0)

    first = 1 - 2 / 11
    expected = first + (1 - 3 / 12) * (2 - first)
    assert averaged(network, average) == pytest.approx((expected, expected), rel=1e-6)


def test_after_them_the_decay_holds():
    network, average = made(0.5)
    move(network, average, *[4.0] * 40)

    move(network, average, 8.0)

    assert averaged(network, average)[0] == pytest.approx(6.0, rel=1e-5)


def test_the_network_is_itself_again_after_it_was_its_average():
    network, average = made(0.9)
    move(network, average, 0.1, 0.7)
    before = {name: each.clone() for name, each in network.state_dict().items()}

    assert averaged(network, average)[0] != pytest.approx(0.7)
    with pytest.raises(RuntimeError), average.in_place():
        raise RuntimeError

    assert all(torch.equal(each, before[name]) for name, each in network.state_dict().items())


def test_a_restored_average_goes_on_as_the_first_would_have():
    network, average = made(0.999)
    move(network, average, 1.0, 3.0)
    saved = {name: each.clone() for name, each in average.state_dict().items()}
    other, resumed = made(0.999, value=3.0)

    resumed.load_state_dict(saved)
    move(network, average, 5.0)
    move(other, resumed, 5.0)

    assert averaged(network, average) == averaged(other, resumed)


def test_without_a_decay_nothing_is_kept():
    network, average = made(0.0)

    move(network, average, 1.0, 2.0)

    assert averaged(network, average)[0] == 2.0
    assert average.state_dict() == {}


@pytest.mark.parametrize(
    ("given", "steps", "decay"),
    [
        pytest.param({}, 500, 0.0, id="a head alone"),
        pytest.param({"fine_tune": "all"}, 500, 1 - 1 / 500, id="an epoch"),
        pytest.param({"fine_tune": "all"}, 2, 0.9, id="few photos"),
        pytest.param({"ema_decay": 0.99}, 500, 0.99, id="given"),
        pytest.param({"fine_tune": "all", "ema_decay": 0.0}, 500, 0.0, id="turned off"),
    ],
)
def test_the_decay_is_the_given_one_or_fits_the_epoch(given, steps, decay):
    assert ema.decay_of(Hyperparameters(**given), steps) == pytest.approx(decay)
