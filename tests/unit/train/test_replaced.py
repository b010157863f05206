"""Checkpoints of other photos under the same names: none of them is gone on from."""

from pathlib import Path

import numpy as np
import pytest
import torch

from train.channels import Splits
from train.checkpoint import Store
from train.index import Index
from train.loop import State
from train.replaced import PART, Contents


def contents(*hashes):
    """Of three train photos and a validation photo; hashes beyond these are another host's."""
    train = Index.of("train", Path(), ((f"a/{at}.jpg", 0) for at in range(3)))
    held = Index.of("validation", Path(), [("a/3.jpg", 0)])
    return Contents(Splits(["a"], train, held, None, contents=np.array(hashes, np.uint64)))


def tensors(made):
    return {f"{PART}/{name}": value.clone() for name, value in made.state_dict().items()}


@pytest.mark.parametrize(
    ("now", "told"),
    [
        pytest.param((5, 6, 7, 1 << 63), "", id="the same"),
        pytest.param((0, 6, 0, 0), "", id="the same as far as this start has looked"),
        pytest.param((5, 6, 8, 9), "2 of 4 photos compared", id="others"),
        pytest.param((0, 6, 8, 0), "train/a/2.jpg among them", id="another train photo"),
        pytest.param((5, 6, 7, 9), "validation/a/3.jpg among them", id="another validation photo"),
    ],
)
def test_photos_that_both_starts_know_are_compared(now, told):
    earlier = tensors(contents(5, 6, 7, 1 << 63))

    why = contents(*now).others(earlier)

    assert told in why
    assert bool(told) == bool(why)


def test_a_start_that_had_not_looked_at_a_photo_cannot_say_that_it_changed():
    assert not contents(5, 6, 7, 8).others(tensors(contents(5, 0, 0, 0)))


def test_photos_of_another_host_are_compared_too():
    assert "another host's among" in contents(5, 6, 7, 8, 10).others(
        tensors(contents(5, 6, 7, 8, 9))
    )


def test_an_older_programs_checkpoint_is_gone_on_from():
    made = contents(5, 6, 7, 8)

    assert not made.others({})
    made.load_state_dict({})
    assert made.state_dict()["known"].tolist() == [5, 6, 7, 8]


def test_what_an_earlier_start_has_seen_stays_known():
    made = contents(0, 6, 0, 8)

    made.load_state_dict(contents(5, 6, 0, 0).state_dict())

    assert made.state_dict()["known"].tolist() == [5, 6, 0, 8]


def test_a_checkpoint_of_other_photos_is_named_and_makes_room_for_those_of_these(tmp_path):
    said = []

    def store():
        made = Store(tmp_path, {}, said.append)
        assert made.writable()
        return made

    weights = {"network/weight": torch.ones(2)}
    before, now = contents(5, 6, 7, 8), contents(1, 2, 3, 4)
    store().save(State(epoch=9, step=90), weights | tensors(before), None)

    anew = store()
    assert anew.load(now.others) is None
    assert "is of other photos and passed over: 4 of 4 photos" in said[-2]
    assert said[-1].startswith("resume: none, no usable checkpoint in ")
    anew.save(State(epoch=1, step=10), weights | tensors(now), None)
    found = store().load(now.others)

    assert found.state.step == 10
    assert len(store().names()) == 1
