"""Training photos without a crop are cut as evaluation and serving cut them."""

import numpy as np
import pytest
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
