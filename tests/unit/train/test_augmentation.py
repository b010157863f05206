"""Training photos without a crop are cut as evaluation and serving cut them."""

import numpy as np
import pytest
import torch
from PIL import Image

from artifact.preprocess import Preprocessing, fit
from train.augmentation import Augmentation


@pytest.mark.parametrize("size", [(224, 224), (300, 260)])
def test_a_photo_that_already_has_the_networks_size_is_fitted_like_any_other(size):
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 255, (size[1], size[0], 3), np.uint8))
    preprocessing = Preprocessing.for_size(224)

    none = Augmentation("none", preprocessing)(image)
    flipped = Augmentation("flip", preprocessing)(image)

    expected = fit(image, preprocessing)
    assert np.array_equal(none, expected)
    assert np.array_equal(flipped, expected) or np.allclose(flipped[:, ::-1], expected, atol=1)


def test_an_erased_box_has_the_mean_colour_and_the_rest_is_untouched():
    image = Image.fromarray(np.full((64, 64, 3), 200, np.uint8))
    preprocessing = Preprocessing.for_size(64)
    torch.manual_seed(0)

    seen = [Augmentation("none", preprocessing, erasing=0.5)(image) for _ in range(40)]

    erased = [pixels for pixels in seen if not (pixels == 200).all()]
    assert 10 <= len(erased) <= 30
    for pixels in erased:
        box = (pixels != 200).any(2)
        rows, columns = np.flatnonzero(box.any(1)), np.flatnonzero(box.any(0))
        assert box.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert {tuple(colour) for colour in pixels[box].tolist()} == {(124, 116, 104)}
        assert 0.01 < box.mean() < 0.4
