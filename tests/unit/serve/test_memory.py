"""When a growing engine is replaced, and how: sizes in MiB."""

import os

import pytest

from serve.engine import memory
from serve.engine.memory import MIB, Guard, Room, Size, Verdict

FIRST = Size(300 * MIB, 400 * MIB)


@pytest.mark.parametrize(
    ("now", "limit", "used", "most", "verdict"),
    [
        pytest.param(300, 2000, 400, 0, Verdict.STAY, id="as at first"),
        pytest.param(330, 500, 499, 0, Verdict.STAY, id="another process fills the container"),
        pytest.param(700, 2000, 800, 0, Verdict.STAY, id="room for more than it has grown"),
        pytest.param(900, 2000, 1000, 0, Verdict.REPLACE_BESIDE, id="more grown than there is"),
        pytest.param(900, 2000, 1490, 0, Verdict.REPLACE_BESIDE, id="a new one just fits"),
        pytest.param(900, 2000, 1520, 0, Verdict.STAY, id="no room beside, none needed yet"),
        pytest.param(900, 2000, 1850, 0, Verdict.REPLACE_AFTER, id="no room beside, kill is near"),
        pytest.param(350, 600, 450, 0, Verdict.STAY, id="two never fit"),
        pytest.param(450, 600, 560, 0, Verdict.REPLACE_AFTER, id="two never fit, kill is near"),
        pytest.param(501, 9000, 800, 500, Verdict.REPLACE_BESIDE, id="larger than allowed"),
        pytest.param(501, 900, 600, 500, Verdict.REPLACE_AFTER, id="larger, no room beside"),
        pytest.param(310, 9000, 800, 200, Verdict.STAY, id="larger from its start"),
        pytest.param(9000, None, None, 0, Verdict.STAY, id="nobody tells"),
        pytest.param(501, None, None, 500, Verdict.REPLACE_BESIDE, id="nobody tells, allowed less"),
    ],
)
def test_a_growing_engine_is_replaced_while_there_is_room(
    now: int, limit: int | None, used: int | None, most: int, verdict: Verdict
) -> None:
    room = Room(limit and limit * MIB, used and used * MIB)
    guard = Guard(FIRST, most * MIB, lambda: room)

    assert guard.verdict(Size(now * MIB, now * MIB)) is verdict


def test_what_the_first_large_batches_take_is_no_leak_and_what_never_stops_is() -> None:
    room = Room(1000 * MIB, 700 * MIB)
    working, leaking = (Guard(FIRST, 0, lambda: room) for _ in range(2))
    for mib in (300, 420, 420, 420):
        working.settle(Size(mib * MIB, mib * MIB))
    for mib in (310, 340, 380, 420):
        leaking.settle(Size(mib * MIB, mib * MIB))
    now = Size(421 * MIB, 421 * MIB)
    room = Room(1000 * MIB, 540 * MIB)

    assert working.verdict(now) is Verdict.STAY
    assert leaking.verdict(now) is Verdict.REPLACE_BESIDE


@pytest.mark.parametrize(
    ("limit", "used", "fits"),
    [
        pytest.param(1000, 300, True, id="room for three more"),
        pytest.param(1000, 700, False, id="none to be replaced in"),
        pytest.param(None, None, True, id="no limit"),
    ],
)
def test_an_engine_grows_to_twice_its_size_only_where_it_can_still_be_replaced(
    limit: int | None, used: int | None, fits: bool
) -> None:
    own = Size(80 * MIB, 150 * MIB, 50 * MIB)
    room = Room(limit and limit * MIB, used and used * MIB)

    assert memory.may_double(own, room) is fits


def test_a_process_is_as_large_as_what_it_holds_alone() -> None:
    before = memory.size(os.getpid())
    held = bytearray(os.urandom(64 * MIB))
    after = memory.size(os.getpid())

    assert before is not None
    assert after is not None
    assert len(held) * 0.9 < after.now - before.now < len(held) * 1.5
    assert after.peak >= after.now
    assert memory.size(1 << 30) is None


def test_the_container_or_else_the_machine_sets_a_limit() -> None:
    room = memory.room()

    assert room.limit is not None
    assert room.used is not None
    assert 0 < room.used < room.limit
