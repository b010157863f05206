"""Which photos make which update, and how many are in flight."""

import resource

import numpy as np
import pytest

from artifact.preprocess import Preprocessing
from container.failure import SharedMemoryError, classify
from tests.tree import photo
from train import batches
from train.batches import Loader, Photos, plan
from train.index import Index
from train.schedule import micro_sizes, schedule_epoch, steps_per_epoch


@pytest.mark.parametrize(
    ("images", "limit", "sizes"),
    [(32, 32, [32]), (32, 16, [16, 16]), (33, 16, [11, 11, 11]), (3, 2, [3]), (1, 8, [1]),
     (5, 2, [3, 2])],
)  # fmt: skip
def test_an_update_is_cut_into_near_equal_parts_of_at_least_two(images, limit, sizes):
    assert micro_sizes(images, limit) == sizes


@pytest.mark.parametrize("samples", [1, 2, 7, 8, 9, 16, 17, 100])
@pytest.mark.parametrize("batch_size", [1, 2, 8, 200])
@pytest.mark.parametrize("micro", [1, 3, 8])
def test_an_epoch_uses_every_sample_once_and_never_trains_on_a_leftover_of_one(
    samples, batch_size, micro
):
    specs = list(schedule_epoch(samples, batch_size, micro, seed=1, epoch=0))

    used = np.concatenate([spec.positions for spec in specs])
    assert sorted(used) == list(range(samples))
    updates = [spec for spec in specs if spec.last]
    assert len(updates) == steps_per_epoch(samples, batch_size)
    if batch_size > 1 and samples > 1:
        assert all(len(spec.positions) > 1 for spec in specs)
    for step in range(len(updates)):
        parts = [spec for spec in specs if spec.step == step]
        assert {spec.images for spec in parts} == {sum(len(spec.positions) for spec in parts)}


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        return [s.positions.tolist() for s in schedule_epoch(20, 4, 4, seed, epoch)]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_workers_are_cut_to_the_shared_memory():
    micro_bytes = 32 * 224 * 224 * 3

    cut = plan(8, micro_bytes, "cpu", 64 << 20)

    assert 0 < cut.workers < 8
    assert cut.workers * 2 * micro_bytes <= 32 << 20
    assert "/dev/shm has 64 MiB free" in cut.note


def test_enough_shared_memory_changes_nothing():
    assert plan(8, 32 * 224 * 224 * 3, "cpu", 8 << 30) == batches.Plan(8, 2)


def test_without_shared_memory_the_training_process_decodes():
    assert plan(8, 1000, "cpu", None).workers == 0


def test_a_batch_that_shared_memory_refuses_is_an_error_and_not_waited_for(tmp_path):
    names = [f"{at}.jpg" for at in range(32)]
    for at, name in enumerate(names):
        (tmp_path / name).write_bytes(photo((200, 40, 40), at))
    index = Index.of("train", tmp_path, ((name, 0) for name in names))
    photos = Photos(index, Preprocessing.for_size(64), "none", seed=0)
    loader = Loader(photos, 32, 32, batches.Plan(1, 2), pin=False, stay=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # a shared block is a file, too

    try:
        with pytest.raises(RuntimeError, match="/torch_") as caught:
            list(loader.in_order())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    failure = classify(caught.value)
    assert isinstance(failure, SharedMemoryError)
    assert "unable to" in failure.cause
