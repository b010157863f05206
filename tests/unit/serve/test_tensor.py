"""Images that come as numbers."""

import numpy as np
import pytest

from artifact.preprocess import Preprocessing, pixels
from serve import tensor
from serve.refusal import PayloadError
from tests import make


def test_planes_of_the_right_size_are_untouched() -> None:
    values = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)

    assert tensor.planes(values, 8, 100).tobytes() == values.tobytes()


@pytest.mark.parametrize("shape", [(244, 244), (1, 1), (7, 300)])
def test_planes_of_another_size_are_resized_channel_by_channel(shape: tuple[int, int]) -> None:
    values = np.stack([np.full(shape, level) for level in (-1.5, 0.0, 2.5)])
    image = tensor.planes(values, 224, 10**6)

    assert image.shape == (3, 224, 224)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image.mean(axis=(1, 2)), [-1.5, 0, 2.5], rtol=1e-5, atol=1e-6)


def test_pixels_become_what_the_photo_of_them_becomes() -> None:
    rules = Preprocessing.for_size(32)
    picture = make.picture()

    seen = tensor.pixels(np.asarray(picture), rules, 10**6)

    np.testing.assert_array_equal(seen, pixels(make.encode(picture, "PNG"), rules))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param([], "a list of 0", id="empty"),
        pytest.param([[[1]], [[1]]], "a list of 2", id="two channels"),
        pytest.param([[], [], []], "three levels", id="no rows"),
        pytest.param([[1], [1], [1]], "three levels", id="two levels"),
        pytest.param([[[1]], [[1]], [[[1]]]], "numbers only", id="four levels"),
        pytest.param([[[1]], [[True]], [[1]]], "numbers only", id="truth"),
        pytest.param([[[1]], [[None]], [[1]]], "numbers only", id="null"),
        pytest.param([[[1, 2]], [[1]], [[1]]], "lengths", id="ragged"),
        pytest.param([[[10**400]], [[1]], [[1]]], "too large", id="huge"),
    ],
)
def test_lists_that_are_no_image_are_refused(value: list[object], message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        tensor.from_lists(value)
