"""The arithmetic of the sweep, and the photos that it sends."""

import io

import pytest
from PIL import Image

from bench import photos
from bench.__main__ import knee, numbers
from bench.load import Load, distinct


def seen(concurrency, count):
    return Load(concurrency, seconds=1.0, latencies=[0.01] * count)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        pytest.param({1: 50, 2: 90, 4: 100, 8: 101}, 4, id="flat behind it"),
        pytest.param({1: 50, 2: 100, 4: 200}, 4, id="never flat"),
        pytest.param({1: 100, 2: 99, 4: 60}, 1, id="one is enough"),
    ],
)
def test_the_knee_is_where_more_at_a_time_stops_paying(rates, expected):
    assert knee([seen(*each) for each in rates.items()]).concurrency == expected


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_a_latency_that_was_seen(share, expected):
    load = Load(1, 1.0, [each / 1000 for each in range(1, 101)])

    assert load.percentile(share) == pytest.approx(expected)


def test_bodies_differ_and_the_picture_does_not():
    (photo,) = photos.made(1)
    one, other = distinct(photo, "1"), distinct(photo, "2")
    pictures = [Image.open(io.BytesIO(each)) for each in (photo, one, other)]

    assert len({photo, one, other}) == 3
    assert len({each.tobytes() for each in pictures}) == 1
    assert 100_000 < len(photo) < 120_000


@pytest.mark.parametrize("text", ["0,1", "", "a", "-3"])
def test_numbers_that_are_none_are_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011  argparse says the rest
        numbers(text)
