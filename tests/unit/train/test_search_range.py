"""How `auto` chooses, on curves and counts that are known."""

import math

import pytest
import torch
from torch import nn

from train import search_range
from train.distributed import ALONE
from train.hyperparameters import Hyperparameters, parse
from train.schema import AUTO

RATES = [1e-6 * 10 ** (6 * step / 39) for step in range(40)]


@pytest.mark.parametrize(
    ("photos", "size"),
    [
        pytest.param(12, 8, id="a handful"),
        pytest.param(244, 8, id="hundreds"),
        pytest.param(1600, 32, id="thousands"),
        pytest.param(20_000, 128, id="many"),
        pytest.param(5_000_000, 128, id="a processor is busy"),
    ],
)
def test_a_batch_leaves_enough_updates_an_epoch(photos, size, capsys):
    chosen, found = Hyperparameters(batch_size=AUTO), {}

    settled = search_range.with_batch_size(
        chosen, found, nn.Linear(1, 1), photos, torch.device("cpu"), torch.no_grad, ALONE
    )

    assert settled.batch_size == found["batch_size"] == size
    assert f"batch_size: auto is {size}\n" in capsys.readouterr().out


def test_what_was_found_before_is_taken_and_what_was_given_is_kept():
    arguments = (nn.Linear(1, 1), 20_000, torch.device("cpu"), torch.no_grad, ALONE)

    resumed = search_range.with_batch_size(
        Hyperparameters(batch_size=AUTO), {"batch_size": 48}, *arguments
    )
    given = search_range.with_batch_size(Hyperparameters(batch_size=7), {}, *arguments)

    assert (resumed.batch_size, given.batch_size) == (48, 7)


def valley(lowest):
    """A loss that falls until log10(rate) is `lowest`, then rises."""
    return [2 + 0.1 * abs(math.log10(rate) - lowest) for rate in RATES]


@pytest.mark.parametrize("lowest", [-4, -2])
def test_a_learning_rate_is_a_tenth_of_that_of_the_lowest_loss(lowest, capsys):
    chosen = search_range.choose(RATES, valley(lowest))

    # smoothing looks a few updates back
    assert lowest - 1 <= math.log10(chosen) <= lowest - 0.4
    assert "1.0e-06: 2." in capsys.readouterr().out


def test_a_loss_that_never_falls_gives_the_default_and_says_so(capsys):
    assert search_range.choose(RATES, [2.3] * 40) == 0.001
    assert search_range.choose(RATES, []) == 0.001
    assert "note: the loss fell at no rate" in capsys.readouterr().out


def test_a_loss_that_ended_early_is_enough():
    assert search_range.choose(RATES, valley(-4)[:25]) == search_range.choose(RATES, valley(-4))


@pytest.mark.parametrize("text", ["auto", '"auto"', "AUTO", '"\\"auto\\""'])
def test_auto_is_a_word_for_some_numbers(text):
    parsed, _ = parse({"batch_size": text, "lr": text})

    written = parsed.as_written()
    assert (written["batch_size"], written["learning_rate"]) == ("auto", "auto")
    assert written["epochs"] == 10
