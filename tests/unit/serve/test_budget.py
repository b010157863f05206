"""Whether one more model fits: estimated, learned, promised, and what could go."""

from dataclasses import replace

import pytest

from container.settings import MIB
from serve import budget
from serve.budget import FACTOR, OPENVINO, OWN_MIB, SHARED_MIB, TORCH, Budget, Holding, Size
from serve.engine.memory import Room
from serve.engine.memory import Size as Seen

SMALL = Size(OPENVINO, 10 * MIB)
ALONE = OWN_MIB[OPENVINO] * MIB + int(FACTOR[OPENVINO] * 10 * MIB)


def holding(name: str, promised: int, taken: int, idle: float, loaded: bool = True) -> Holding:
    return Holding(name, OPENVINO, promised * MIB, taken * MIB, idle, loaded)


def machine(free_mib: int) -> Budget:
    return Budget(0, 0, lambda: Room(1000 * MIB, (1000 - free_mib) * MIB))


def test_the_first_of_a_kind_pays_for_what_the_kind_shares() -> None:
    first = machine(900).weigh(SMALL, [])
    second = machine(900).weigh(SMALL, [holding("a", 50, 50, 0)])
    other = machine(900).weigh(Size(TORCH, 10 * MIB), [holding("a", 50, 50, 0)])

    assert (first.need, second.need) == (ALONE + SHARED_MIB[OPENVINO] * MIB, ALONE)
    assert other.need > second.need + SHARED_MIB[TORCH] * MIB


@pytest.mark.parametrize(
    ("taken", "shared", "loaded"),
    [
        pytest.param(0, 0, False, id="it waits for its turn"),
        pytest.param(0, 200, False, id="it has most of the libraries"),
        pytest.param(100, SHARED_MIB[TORCH], False, id="it has the libraries and warms up"),
        pytest.param(OWN_MIB[TORCH] + 25, SHARED_MIB[TORCH], True, id="it is up"),
    ],
)
def test_what_the_first_of_a_kind_brings_is_counted_once_from_its_first_moment(
    taken: int, shared: int, loaded: bool
) -> None:
    size = Size(TORCH, 10 * MIB)
    own = OWN_MIB[TORCH] + 25
    first = Holding("a", TORCH, own * MIB, taken * MIB, 0, loaded, shared * MIB)
    alone = machine(800).weigh(size, [])
    second = machine(800 - taken - shared).weigh(size, [first])

    assert (alone.fits, alone.need) == (True, (own + SHARED_MIB[TORCH]) * MIB)
    assert (second.fits, second.need) == (False, own * MIB)
    assert second.free == (800 - own - SHARED_MIB[TORCH]) * MIB


def test_libraries_on_their_way_are_not_free_for_another_kind() -> None:
    loading = Holding("a", TORCH, 300 * MIB, 0, 0, loaded=False)

    assert machine(800).weigh(SMALL, [loading]).free == (800 - 300 - SHARED_MIB[TORCH]) * MIB


def test_a_limit_of_all_models_counts_libraries_on_their_way_once() -> None:
    limited = Budget(400 * MIB, 0, lambda: Room(1000 * MIB, 0))
    loading = holding("a", 100, 0, 0, loaded=False)

    assert limited.weigh(SMALL, [loading]).free == (400 - SHARED_MIB[OPENVINO] - 100) * MIB


def test_what_engines_really_took_corrects_the_estimate_for_their_size_only() -> None:
    seen = machine(900)
    seen.learn(SMALL, Seen(now=100 * MIB, peak=270 * MIB, shared=50 * MIB))
    alike, larger = Size(OPENVINO, 9 * MIB), Size(OPENVINO, 12 * MIB)
    far = Size(OPENVINO, 100 * MIB)

    assert seen.need(alike) == 220 * MIB
    assert seen.need(larger) == 220 * MIB + int(FACTOR[OPENVINO] * 2 * MIB)
    assert seen.need(far) == machine(900).need(far)
    assert seen.weigh(SMALL, []).need == (220 + 50) * MIB


def test_memory_that_is_promised_is_not_free() -> None:
    loading = replace(holding("a", 300, 100, 0, loaded=False), shared=SHARED_MIB[OPENVINO] * MIB)
    loaded = holding("b", 300, 300, 0)

    assert machine(500).weigh(SMALL, [loading]).free == 300 * MIB
    assert machine(500).weigh(SMALL, [loaded]).free == 500 * MIB
    assert machine(100).weigh(SMALL, [loading]).free == 0


def test_a_limit_of_all_models_counts_what_they_hold_and_share() -> None:
    limited = Budget(400 * MIB, 0, lambda: Room(None, None))
    there = [holding("a", 100, 120, 0), holding("b", 100, 20, 0)]

    assert limited.weigh(SMALL, there).free == (400 - SHARED_MIB[OPENVINO] - 120 - 100) * MIB


def test_photos_in_hand_keep_their_part_and_no_more_than_a_quarter() -> None:
    def free(photos: int) -> int:
        room = Room(1000 * MIB, 0)
        return Budget(0, photos * MIB, lambda: room).weigh(SMALL, []).free // MIB

    assert (free(40), free(10_000)) == (960, 750)


@pytest.mark.parametrize(
    ("free", "names", "enough"),
    [
        pytest.param(900, [], True, id="it fits"),
        pytest.param(40, ["old"], True, id="one is enough"),
        pytest.param(10, ["old", "new"], True, id="two are needed"),
        pytest.param(0, ["old", "new"], False, id="all are not enough"),
    ],
)
def test_the_least_recently_used_go_first_and_no_more_than_must(
    free: int, names: list[str], enough: bool
) -> None:
    there = [
        holding("new", 25, 25, 1),
        holding("old", 30, 30, 9),
        holding("coming", 30, 30, 99, loaded=False),
    ]
    verdict = machine(free).weigh(SMALL, there)

    assert [each.name for each in verdict.could_go] == names
    assert (verdict.fits, verdict.enough) == (not names, enough)
    assert budget.held(there[0]) == 25 * MIB
