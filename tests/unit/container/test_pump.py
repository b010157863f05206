"""A program's output reaches the log, and a log that nobody reads stops nobody."""

import os
import subprocess
import sys

import pytest

from container.pump import Pump

CHATTY = "for at in range(40000): print(f'line {at:06d}')"


@pytest.fixture
def pipes():
    """Of the first pair the pump closes one end and the test the other: closed once more here,
    their numbers could be somebody else's files by then."""
    ends = [*os.pipe(), *os.pipe()]
    yield ends
    for end in ends[2:]:
        os.close(end)


def test_everything_gets_through_in_order(pipes):
    source, program, log, sink = pipes[0], pipes[1], pipes[2], pipes[3]
    pump = Pump(source, sink)

    child = subprocess.Popen([sys.executable, "-c", CHATTY], stdout=program)
    os.close(program)
    seen = b""
    while len(seen) < 40000 * 12:
        seen += os.read(log, 1 << 16)

    assert child.wait(10) == 0
    assert pump.finish(10)
    assert seen.split(b"\n")[:-1] == [b"line %06d" % at for at in range(40000)]


def test_a_log_that_is_not_read_holds_nobody_up_and_the_gap_is_said(pipes):
    source, program, log, sink = pipes[0], pipes[1], pipes[2], pipes[3]
    pump = Pump(source, sink, room=1 << 17)

    child = subprocess.Popen([sys.executable, "-c", CHATTY], stdout=program)
    os.close(program)

    assert child.wait(10) == 0
    assert not pump.finish(0.1)
    seen = b""
    while b"bytes of output dropped" not in seen:
        seen += os.read(log, 1 << 16)
    assert pump.finish(10)
    assert seen.startswith(b"line 000000\n")
    assert len(seen) < 1 << 19


def test_a_log_that_does_not_block_gets_everything(pipes):
    source, program, log, sink = pipes[0], pipes[1], pipes[2], pipes[3]
    os.set_blocking(sink, False)
    pump = Pump(source, sink)

    child = subprocess.Popen([sys.executable, "-c", CHATTY], stdout=program)
    os.close(program)
    assert child.wait(10) == 0
    seen = b""
    while len(seen) < 40000 * 12:
        seen += os.read(log, 1 << 12)

    assert pump.finish(10)
