"""When an HTTP process is taken for stopped or stuck, and when not."""

import subprocess

import psutil
import pytest

from container import heartbeat
from container.heartbeat import SILENT_LOOKS, Beats


def faults(looks):
    beats = Beats()
    return [beats.fault(stopped, beat) for stopped, beat in looks]


def test_one_that_has_not_begun_to_beat_may_take_its_time():
    assert set(faults([(False, 1.0)] * 10 * SILENT_LOOKS)) == {None}


def test_one_that_falls_silent_is_stuck_and_one_that_beats_now_and_then_is_not():
    silence = [(False, 2.0)] * (SILENT_LOOKS + 1)

    told = faults([(False, 1.0), *silence])
    slow = faults([(False, float(look // (SILENT_LOOKS - 1))) for look in range(400)])

    assert told[:-1] == [None] * (len(told) - 1)
    assert told[-1] == "was silent for 10 s"
    assert set(slow) == {None}


@pytest.mark.parametrize("begun", [False, True])
def test_one_that_is_stopped_is_known_at_once_but_not_by_a_single_look(begun):
    before = [(False, 0.0), (False, 1.0)] if begun else [(False, 1.0)]

    told = faults([*before, (True, 1.0), (False, 1.0), (True, 1.0), (True, 1.0)])

    assert told == [*[None] * (len(told) - 1), "is stopped"]


def test_the_state_of_a_process_is_read():
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert not heartbeat.is_stopped(child.pid)
        psutil.Process(child.pid).suspend()
        child_state = psutil.Process(child.pid)
        while child_state.status() != psutil.STATUS_STOPPED:
            pass
        assert heartbeat.is_stopped(child.pid)
    finally:
        child.kill()
        child.wait()
    with pytest.raises(OSError, match="No such"):
        heartbeat.is_stopped(child.pid)
