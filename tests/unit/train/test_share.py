"""Which photos of every update are whose, where several processes train together."""

import numpy as np
import pytest

from train.schedule import Share, schedule_epoch


def shares(samples, parts):
    """Every process's share: `parts` processes for each of the shards."""
    return [
        Share(tuple(samples), shard, part, parts)
        for shard in range(len(samples))
        for part in range(parts)
    ]


@pytest.mark.parametrize("samples", [(1,), (3,), (33,), (100,), (1, 40), (7, 9, 30), (2, 2)])
@pytest.mark.parametrize("parts", [1, 2, 3, 8])
@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_every_photo_is_used_once_and_all_meet_at_every_update(samples, parts, batch_size):
    team = shares(samples, parts)
    plans = [list(share.epoch(batch_size, 5, seed=1, epoch=2)) for share in team]

    steps = team[0].steps(batch_size)
    for plan in plans:
        assert [spec.step for spec in plan if spec.last] == list(range(steps))
    for shard, count in enumerate(samples):
        used = [spec.positions for share, plan in zip(team, plans, strict=True)
                for spec in plan if share.shard == shard]  # fmt: skip
        assert sorted(np.concatenate(used)) == list(range(count))
    for step in range(steps):
        together = [spec for plan in plans for spec in plan if spec.step == step]
        assert {spec.images for spec in together} == {sum(len(s.positions) for s in together)}
        if batch_size > 1 and min(samples) > 1:
            assert all(len(spec.positions) != 1 for spec in together)


@pytest.mark.parametrize("samples", [1, 2, 17, 40])
def test_a_single_process_has_the_updates_that_it_always_had(samples):
    own = list(Share((samples,)).epoch(8, 3, seed=4, epoch=1))
    before = list(schedule_epoch(samples, 8, 3, seed=4, epoch=1))

    assert [spec.positions.tolist() for spec in own] == [s.positions.tolist() for s in before]
    assert [(s.step, s.images, s.last) for s in own] == [(s.step, s.images, s.last) for s in before]


def test_an_evaluation_sees_every_photo_once():
    seen = [spec.positions for share in shares([11], 3) for spec in share.in_order(2)]

    assert sorted(np.concatenate(seen)) == list(range(11))


def test_a_small_shard_has_its_part_of_every_update():
    """It does not run out early, while the others go on alone."""
    small, _ = shares([20, 80], 1)

    sizes = [len(spec.positions) for spec in small.epoch(20, 99, seed=0, epoch=0)]

    assert sizes == [4, 4, 4, 4, 4]
