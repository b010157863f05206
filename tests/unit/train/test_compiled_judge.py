"""When an engine counts as good as the network: by chance of few photos, by points of many."""

import numpy as np
import pytest

from train.compiled import judge, material


def answers(count, losses, gains):
    """Right before and after, of `count` photos; those on which nothing changes are half right."""
    before, after = np.zeros(count, bool), np.zeros(count, bool)
    before[:losses] = True
    after[losses : losses + gains] = True
    before[losses + gains :: 2] = after[losses + gains :: 2] = True
    return before, after


@pytest.mark.parametrize(
    ("losses", "gains", "chance"),
    [
        pytest.param(0, 0, 1.0, id="nothing changes"),
        pytest.param(5, 0, 1 / 32, id="five of five"),
        pytest.param(3, 3, 42 / 64, id="as many each way"),
        pytest.param(0, 5, 1.0, id="gains only"),
        pytest.param(9, 2, (1 + 11 + 55) / 2048, id="nine of eleven"),
    ],
)
def test_the_exact_binomial(losses, gains, chance):
    assert judge.mcnemar(losses, gains) == pytest.approx(chance)


@pytest.mark.parametrize(
    ("count", "losses", "gains", "kept", "said"),
    [
        pytest.param(150, 4, 0, True, "p = 0.062", id="few, four lost by chance"),
        pytest.param(150, 5, 0, False, "p = 0.0312", id="few, five lost"),
        pytest.param(150, 12, 9, True, "no more than by chance", id="few, losses and gains"),
        pytest.param(150, 0, 9, True, "p = 1", id="few, gains alone"),
        pytest.param(999, 40, 10, False, "too many for chance", id="just few"),
        pytest.param(1000, 5, 0, True, "falls by 0.50 points", id="many, at the limit"),
        pytest.param(1000, 6, 0, False, "falls by 0.60 points", id="many, beyond it"),
        pytest.param(2000, 30, 25, True, "falls by 0.25 points", id="many, gains make up"),
        pytest.param(2000, 3, 9, True, "rises by 0.30 points", id="many, better"),
    ],
)
def test_the_verdict(count, losses, gains, kept, said):
    found = judge.verdict(*answers(count, losses, gains), tolerance=0.5)

    assert found.kept is kept
    assert said in found.why
    assert f"{losses} lost, {gains} gained of {count:,} photos" in found.why


def test_haste_does_not_make_the_limit_looser():
    """45 lost and 33 gained are no more than chance, but more than half a point."""
    before, after = answers(992, 45, 33)

    assert judge.verdict(before, after, tolerance=0.5).kept
    assert not judge.verdict(before, after, tolerance=0.5, held_out=2000).kept


@pytest.mark.parametrize(
    ("spent", "done", "over"),
    [
        pytest.param(9, 1000, True, id="enough, and the time is over"),
        pytest.param(7, 1000, False, id="time is left"),
        pytest.param(9, 999, False, id="too few for a verdict by points"),
        pytest.param(61, 999, True, id="longer than any job waits"),
    ],
)
def test_the_time_for_judging(spent, done, over):
    assert material.is_over(spent, done, 8.0, 60.0) is over


def test_a_wider_tolerance_keeps_more():
    before, after = answers(1000, 20, 0)

    assert not judge.verdict(before, after, tolerance=1.9).kept
    assert judge.verdict(before, after, tolerance=2.0).kept


def test_the_most_probable_label_is_right_if_it_is_one_of_a_photos():
    rows = np.array([[0.6, 0.4], [0.1, 0.9], [0.7, 0.3]], np.float32)

    assert judge.right(rows, np.array([0, 0, 0])).tolist() == [True, False, True]
    several = np.array([[1, 1], [1, 0], [0, 1]], np.uint8)
    assert judge.right(rows, several).tolist() == [True, False, False]
