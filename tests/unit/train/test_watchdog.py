"""When a silence counts as a stall."""

import threading
import time

import pytest

from train import watchdog
from train.watchdog import Watchdog


@pytest.fixture
def dog(tmp_path):
    return lambda seconds: Watchdog(tmp_path, seconds, lambda: "epoch 1, step 1", lambda: None)


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        pytest.param([], watchdog.FIRST_SECONDS, id="before the first step"),
        pytest.param([0.1] * 50, watchdog.LEAST_SECONDS, id="quick steps"),
        pytest.param([10.0] * 50 + [900.0], 200.0, id="slow steps, one very slow"),
    ],
)
def test_the_window_follows_the_usual_step(dog, intervals, expected):
    made = dog(0)
    made._intervals.extend(intervals)

    assert made.window() == expected


def test_a_wait_that_is_known_of_lengthens_the_window_until_the_next_step(dog):
    made = dog(2)
    made.expect(30)

    assert made.window() == 32
    made.alive()
    assert made.window() == 2


def test_a_silence_that_ends_is_told_with_its_stacks_and_harms_nothing(tmp_path, capfd):
    told = threading.Event()
    made = Watchdog(tmp_path, 0.2, lambda: told.set() or "epoch 1, step 1", lambda: None)

    with made.watching():
        assert told.wait(60)
        made.alive()

    log = capfd.readouterr().err
    assert "stall: no step for 0 s in epoch 1, step 1" in log
    assert "in test_a_silence_that_ends_is_told" in log
    assert "stall: over" in log


def test_work_is_a_sign_of_life_where_there_are_no_steps(tmp_path, capfd):
    made = Watchdog(tmp_path, 0.5, lambda: "", lambda: None)

    with made.watching("listing", by_work=True):
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            sum(range(1000))

    assert "stall" not in capfd.readouterr().err


def test_a_read_that_never_ends_is_no_work(tmp_path, capfd):
    made = Watchdog(tmp_path, 1.0, lambda: "", lambda: None)

    with made.watching("listing", by_work=True):
        threading.Event().wait(1.6)

    assert "stall: no step for 1 s in listing" in capfd.readouterr().err
