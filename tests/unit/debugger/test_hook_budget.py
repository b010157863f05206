"""The budget, on a clock that the test turns."""

import pytest

from debugger.hook.budget import Budget


class Clock:
    def __init__(self):
        self.at = 100.0

    def __call__(self):
        return self.at


class Run:
    """Steps of one second each, of which saved ones take `cost` seconds more."""

    def __init__(self, percent, cost, interval=1, before=0.0, seconds=1.0, fair=0.0):
        self.clock = Clock()
        self.budget = Budget(percent, self.clock, fair, processors=2)
        self.cost, self.interval, self.seconds = cost, interval, seconds
        self.clock.at += before
        self.saved, self.widened = [], []

    def steps(self, count):
        for step in range(count):
            kept = self.budget.of("TRAIN")
            if step % (self.interval * kept.widening) == 0:
                allowed, widened = self.budget.allows("TRAIN", step, self.interval)
                self.widened += [widened] if widened else []
                if allowed:
                    self.clock.at += self.cost
                    self.budget.spend(self.cost, "TRAIN")
                    self.budget.saved("TRAIN", step)
                    self.saved.append(step)
            self.clock.at += self.seconds
        return self


def test_what_is_cheap_is_saved_at_every_due_step():
    run = Run(percent=3, cost=0.01).steps(50)

    assert run.saved == list(range(50))
    assert not run.widened
    assert run.budget.used == pytest.approx(1.0, rel=0.05)


def test_an_expensive_wish_is_widened_at_once_and_keeps_to_the_budget():
    run = Run(percent=3, cost=1.0).steps(2000)

    assert run.saved[0] == 0
    assert len(run.widened) == 1  # and not step by step
    assert run.widened[0] >= 32
    assert run.saved[1] >= 33
    assert run.budget.used <= 3.0


def test_the_first_save_happens_at_any_price_and_work_before_the_first_step_counts():
    dear = Run(percent=3, cost=1000.0).steps(1)
    late = Run(percent=3, cost=1.0, before=200.0).steps(4)

    assert dear.saved == [0]
    assert late.saved == [0, 1, 2, 3]


def test_a_debt_is_paid_off_without_widening_for_ever():
    run = Run(percent=10, cost=1.0, interval=15).steps(200)

    assert run.saved[:3] == [0, 30, 45]
    assert run.budget.skipped == 1
    assert not run.widened
    assert run.budget.of("TRAIN").widening == 1
    assert run.budget.used <= 10


def test_a_short_job_may_spend_what_one_of_a_minute_may():
    run = Run(percent=3, cost=0.25, seconds=0.01, fair=60).steps(50)

    assert run.saved == list(range(7))  # of 1.8 s
    assert len(run.widened) == 1


def test_a_budget_of_0_is_none():
    run = Run(percent=0, cost=5.0).steps(20)

    assert run.saved == list(range(20))


def test_a_thread_beside_the_training_counts_as_one_processor():
    budget = Budget(3, Clock(), processors=4)

    budget.wrote("TRAIN", 0, 3.0)
    budget.of("TRAIN").waited += 1.0  # which is on the training thread's clock

    assert budget.spent == 0.5


def test_what_is_not_written_yet_counts_before_the_next_save():
    clock = Clock()
    budget = Budget(3, clock, fair=0.0, processors=2)
    budget.saved("TRAIN", 0, nbytes=800_000_000)
    clock.at += 80.0  # two such saves, of four seconds on one of two processors, fit into 133
    early, _ = budget.allows("TRAIN", 50, 1000)
    budget.wrote("TRAIN", 800_000_000, 1.0)
    clock.at += 1.0
    late, _ = budget.allows("TRAIN", 60, 1000)

    assert (early, late) == (False, True)


def test_the_second_estimate_compares_saved_updates_with_others():
    run = Run(percent=0, cost=0.5, interval=10).steps(100)
    run.budget.steps[False].extend([1.0] * 90)
    run.budget.steps[True].extend([1.5] * 10)

    assert run.budget.estimate == pytest.approx(100 * 0.5 * 10 / 100, rel=0.01)
