"""The share of an epoch that the loop waits for batches."""

import time

from train.waiting import Timed


class Slow:
    """A source that takes its time; anything can be one."""

    index = None
    steps = 4

    def epoch(self, epoch, first_step=0):
        for number in range(first_step, 4):
            time.sleep(0.02)
            yield number


def test_waiting_and_computing_are_told_apart():
    timed = Timed(Slow())

    for _ in timed.epoch(0):
        time.sleep(0.02)
    both = timed.share
    passed = list(timed.epoch(1, 2))

    assert 0 < both < 0.9
    assert passed == [2, 3]
    assert timed.share > 0.9
    assert timed.steps == 4
