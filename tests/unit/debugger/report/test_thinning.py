"""What is left of much still shows what matters in it."""

import numpy as np
import pytest

from debugger.report.thinning import coarse_to_fine, line, spread


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 257])
def test_every_place_comes_once_wherever_the_order_is_cut_the_range_is_covered(count):
    order = list(coarse_to_fine(count))

    assert sorted(order) == list(range(count))
    for cut in (2, 3, 5, 9, 17):
        if cut <= count:
            gaps = np.diff(sorted(order[:cut]))
            assert {0, count - 1} <= set(order[:cut])
            assert gaps.max() <= -(-count // (cut // 2))


def test_a_peak_of_one_point_in_a_hundred_thousand_stays_the_highest():
    values = np.full(100_000, 3.0)
    values[77_777] = 99

    thin = line(np.arange(100_000), values, 800)

    assert len(thin.x) == 800
    assert not thin.whole
    assert thin.high.max() == 99
    assert thin.low.min() == 3
    assert thin.mean.mean() == pytest.approx(values.mean())
    assert (np.diff(thin.x) > 0).all()


def test_a_part_without_a_number_is_a_gap_and_a_number_beside_nan_is_kept():
    values = np.arange(1000.0)
    values[200:400] = np.nan
    values[400:1000:2] = np.inf

    thin = line(np.arange(1000), values, 10)

    assert np.isnan(thin.mean).tolist() == [at in (2, 3) for at in range(10)]
    assert thin.high[-1] == 999
    assert np.isfinite(thin.low[[0, 1, 4, 9]]).all()


def test_a_short_series_is_left_as_it_is():
    thin = line(np.array([1, 2]), np.array([5.0, np.nan]), 10)

    assert thin.whole
    assert thin.mean[0] == 5
    assert np.isnan(thin.mean[1])


def test_some_of_many_hold_both_ends():
    assert spread(range(1000), 3) == [0, 500, 999]
    assert spread("abc", 5) == ["a", "b", "c"]
    assert spread(range(9), 1) == [0]
