"""What an evaluation says of photos and answers that are none."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch import nn

from artifact.preprocess import Preprocessing
from container.failure import DataError, HostMemoryError, NonFiniteLossError
from tests.tree import photo
from train import batches
from train.batches import Loader, Photos
from train.evaluate import evaluate
from train.index import Index
from train.loss import CrossEntropyLoss
from train.memory import Room


def refuse(most, network, inputs):
    if len(inputs[0]) > most:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")


def evaluated(folder, names, weight=0.1, batch=2, most=9, room=None):
    """The evaluation of a linear network that has memory for `most` photos at a time, and the bad
    files that it told of."""
    index = Index.of("validation", folder, ((name, at % 2) for at, name in enumerate(names)))
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2))
    nn.init.constant_(network[1].weight, weight)
    network.register_forward_pre_hook(partial(refuse, most))
    photos = Photos(index, Preprocessing.for_size(16), "none", seed=0)
    loader = Loader(photos, batch, batch, batches.Plan(0, 2), pin=False, stay=False)
    seen = []
    done = evaluate(
        network, CrossEntropyLoss(), loader, torch.device("cpu"), nullcontext, lambda: False, 2,
        lambda index, lines: seen.extend(lines), room=room,
    )  # fmt: skip
    return done, seen


@pytest.fixture
def folder(tmp_path):
    for at in range(3):
        (tmp_path / f"{at}.jpg").write_bytes(photo((200, 60, 60), at))
    (tmp_path / "bad.jpg").write_bytes(b"")
    return tmp_path


def test_a_photo_that_cannot_be_read_is_left_out_and_named(folder):
    done, seen = evaluated(folder, ["0.jpg", "bad.jpg", "1.jpg", "2.jpg"])

    assert done.images == 3
    assert [line.split(":")[0] for line in seen] == ["validation/bad.jpg"]


def test_a_split_without_a_readable_photo_has_no_accuracy(folder):
    with pytest.raises(DataError, match="none of the 1 photos of validation"):
        evaluated(folder, ["bad.jpg"])


def test_answers_that_are_no_numbers_are_no_evaluation(folder):
    with pytest.raises(NonFiniteLossError, match="the loss on 2 held-out photos is nan"):
        evaluated(folder, ["0.jpg", "1.jpg"], weight=float("inf"))


def test_an_evaluation_that_ran_out_of_memory_goes_on_in_halves_and_says_so_once(folder, capsys):
    names, room = ["0.jpg", "1.jpg", "2.jpg", "0.jpg"], Room()
    roomy, _ = evaluated(folder, names, batch=4)

    first, again = (evaluated(folder, names, batch=4, most=2, room=room)[0] for _ in range(2))

    said = capsys.readouterr().out
    assert said.count("out of memory with 4 photos at a time") == 1
    assert said.endswith("from here on 2\n")
    for made in (first, again):
        assert made.confusion.tolist() == roomy.confusion.tolist()
        assert made.loss == pytest.approx(roomy.loss)


def test_an_evaluation_for_whose_half_memory_does_not_do_is_a_failure(folder):
    with pytest.raises(HostMemoryError, match="with 2 photos at a time, after .* cut to 2"):
        evaluated(folder, ["0.jpg", "1.jpg", "2.jpg", "0.jpg"], batch=4, most=1)
