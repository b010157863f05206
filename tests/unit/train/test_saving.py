"""Checkpoints in the background, within the disk's bounds, of photos that stay the same."""

import shutil
import threading

import pytest
import torch
from torch import nn

from container.failure import DiskFullError
from train import budget, checkpoint
from train.hyperparameters import Hyperparameters
from train.loop import State
from train.optimizer import make
from train.saving import Saving
from train.writer import Writer

MIB = budget.MIB


def test_a_newer_write_takes_the_place_of_the_one_that_waits():
    writer, begun, gate, written = Writer(), threading.Event(), threading.Event(), []
    writer.put(lambda: (begun.set(), gate.wait(10), written.append("first")))
    assert begun.wait(10)

    writer.put(lambda: written.append("second"))
    writer.put(lambda: written.append("third"))
    gate.set()

    assert writer.drain(10)
    assert written == ["first", "third"]


def test_a_write_that_fails_is_heard_of_at_the_next_update_once():
    def fail():
        raise OSError(28, "No space left on device")

    saving = Saving(None, 1, dict, lambda seconds: None)
    saving.writer.put(fail)

    with pytest.raises(OSError, match="No space left"):
        saving.writer.drain(10)
    saving.update_done(State(), None, 4)


def test_what_hangs_is_not_waited_for_longer_than_asked():
    writer, gate = Writer(), threading.Event()
    writer.put(lambda: gate.wait(10) and None)

    assert not writer.drain(0.01)
    gate.set()
    assert writer.drain(10)


@pytest.fixture
def run():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    optimizer = make(Hyperparameters(), network)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    return network, optimizer, scaler


def stored(tmp_path, said, outside=None, job="a"):
    store = checkpoint.Store(tmp_path / "checkpoints", {"seed": 1}, said.append, outside, job)
    assert store.writable()
    return store


def test_a_copy_is_of_the_moment_it_was_made(run, tmp_path):
    network, optimizer, scaler = run
    average = nn.Linear(1, 1)
    tensors = checkpoint.collect(network, optimizer, scaler, {"average": average})
    before = [value.clone() for value in [network[0].weight, average.weight]]
    with torch.no_grad():
        network[0].weight.add_(1)
        average.weight.add_(1)

    checkpoint.restore(tensors, network, optimizer, scaler, {"average": average})

    assert torch.equal(network[0].weight, before[0])
    assert torch.equal(average.weight, before[1])


def test_a_checkpoint_in_mid_epoch_and_the_epochs_end_are_both_kept(run, tmp_path):
    said = []
    store = stored(tmp_path, said)
    saving = Saving(store, 1e-9, lambda: checkpoint.collect(*run), lambda seconds: None)

    saving.update_done(State(step=3, step_in_epoch=3), None, steps=4)
    saving.writer.drain()
    saving.update_done(State(step=4, step_in_epoch=4), None, steps=4)
    saving.epoch_done(State(epoch=1, step=4), None)
    saving.finish()

    names = [path.name for path in store.names()]
    assert names == [
        "step-000000004-epoch-000001-000000000",
        "step-000000003-epoch-000000-000000003",
    ]
    assert stored(tmp_path, said, job="b").load().state.epoch == 1
    assert said[-1].endswith(", written by a")


def test_half_written_checkpoints_lie_outside_and_are_gone_at_the_end(run, tmp_path):
    outside = tmp_path / "output" / ".checkpoints"
    (outside / ".partial-killed").mkdir(parents=True)
    store = stored(tmp_path, [], outside)
    assert not [*outside.iterdir()]
    seen = []
    watched = State()
    watched.as_dict = lambda: seen.append([path.name for path in outside.iterdir()]) or {}

    store.save(watched, checkpoint.collect(*run), None)
    store.close()

    assert seen == [[".partial-step-000000000-epoch-000000-000000000"]]
    assert not outside.exists()
    assert len(store.names()) == 1


def test_without_a_way_in_from_outside_a_hidden_folder_serves(run, tmp_path):
    (tmp_path / "file").touch()
    store = stored(tmp_path, [], tmp_path / "file" / "no-folder")

    store.save(State(), checkpoint.collect(*run), None)
    store.close()

    assert len(store.names()) == 1


def test_a_damaged_checkpoint_does_not_count_among_the_kept(run, tmp_path):
    store = stored(tmp_path, [])
    for step in (1, 2):
        store.save(State(step=step), checkpoint.collect(*run), None)
    (store.names()[0] / checkpoint.TENSORS).write_bytes(b"damaged")
    resumed = stored(tmp_path, [])
    resumed.kept = 1

    assert resumed.load().state.step == 1
    resumed.save(State(step=1, step_in_epoch=1), checkpoint.collect(*run), None)

    assert stored(tmp_path, []).load().state.step_in_epoch == 1


@pytest.mark.parametrize(
    ("free", "kept", "words"),
    [
        pytest.param(1000, 2, "2 of 100.0 MiB kept; with", id="room"),
        pytest.param(584, 2, "350.0 MiB of 584.0 MiB free", id="just room"),
        pytest.param(500, 1, "1 of 100.0 MiB kept, not 2: more would not fit", id="tight"),
    ],
)
def test_checkpoints_are_planned_from_the_free_space(tmp_path, free, kept, words):
    number, line = budget.kept(2, 100 * MIB, 50 * MIB, free * MIB, tmp_path)

    assert number == kept
    assert words in line


def test_checkpoints_that_cannot_fit_are_refused_with_the_numbers(tmp_path):
    with pytest.raises(DiskFullError, match=r"need 250.0 MiB, more than 60% of the 400.0 MiB free"):
        budget.kept(2, 100 * MIB, 50 * MIB, 400 * MIB, tmp_path)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_predicted_size_is_the_written_one(tmp_path, optimizer):
    network = nn.Linear(500, 500)
    rule = make(Hyperparameters(optimizer=optimizer), network)
    predicted = budget.checkpoint_bytes(network, rule, {})
    network(torch.ones(1, 500)).sum().backward()
    rule.step()
    store = stored(tmp_path, [])

    tensors = checkpoint.collect(network, rule, torch.amp.GradScaler("cpu", enabled=False))
    store.save(State(), tensors, network.state_dict())

    written = sum(path.stat().st_size for path in store.names()[0].iterdir())
    assert abs(written - predicted) < 20_000
    free = budget.free_bytes(store.folder, store.names()) - shutil.disk_usage(store.folder).free
    assert abs(free - written) < 50 * MIB
