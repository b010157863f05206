"""What the engine of a GPU is made of: on a processor without graphs, on a GPU as it is."""

from pathlib import Path

import numpy as np
import pytest
import torch

from artifact.inference import Classifier
from artifact.preprocess import pixels
from serve.engine.captured import Captured, sizes
from serve.engine.measured import EXACT, Measured, best, measure
from serve.engine.torch import TorchEngine
from tests import make

GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


@pytest.mark.parametrize(
    ("most", "expected"),
    [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8]), (9, [1, 2, 4, 8, 9])],
    ids=str,
)
def test_batch_sizes_are_powers_of_two_up_to_the_largest(most: int, expected: list[int]) -> None:
    assert sizes(most) == expected


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
def test_padded_batches_are_answered_as_those_that_fit(tiny_artifact: Path, device: str) -> None:
    classifier = Classifier(tiny_artifact / "model", device)
    captured, rules = Captured(classifier, 6), classifier.description.preprocessing
    photos = np.stack([pixels(make.photo(seed=seed), rules) for seed in range(6)])
    floats = np.ascontiguousarray(photos.transpose(0, 3, 1, 2) / 255, np.float32)
    alone = classifier.classify(photos)

    for count in (6, 1, 3, 5, 2, 4):
        # others follow, so that what a larger batch has left behind would be seen
        np.testing.assert_allclose(captured.classify(photos[-count:]), alone[-count:], atol=1e-5)
    np.testing.assert_array_equal(captured.classify(floats), classifier.classify(floats))


def test_the_quickest_arithmetic_that_is_near_enough_is_taken() -> None:
    exact = Measured("float32", 3.0, 0.0)
    near, far = Measured("bfloat16", 2.0, 0.04), Measured("float16", 1.0, 0.06)
    overflown = Measured("float16", 1.0, float("inf"))

    assert best([exact, near, far]) is near
    assert best([exact, overflown]) is exact
    assert best([exact, Measured("bfloat16", 4.0, 0.0)]) is exact
    assert "too far" in str(far)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
def test_every_arithmetic_is_asked(tiny_artifact: Path, device: str) -> None:
    measured = measure(tiny_artifact / "model", device, 2)

    assert [each.precision for each in measured] == [EXACT, "bfloat16", "float16"]
    assert measured[0].distance == 0
    assert all(each.seconds > 0 for each in measured)
    assert all(0 < each.distance <= 0.05 for each in measured[1:])


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=GPU)])
def test_the_engine_of_a_gpu_says_what_it_measured(tiny_artifact: Path, device: str) -> None:
    engine = TorchEngine(tiny_artifact / "model", device, "auto", 1, 8)
    exact = Classifier(tiny_artifact / "model", device)
    batch = np.zeros((5, engine.image_size, engine.image_size, 3), np.uint8)

    np.testing.assert_allclose(engine.classify(batch), exact.classify(batch), atol=0.05)
    assert all(f"{name} " in engine.note for name in ("float32", "bfloat16", "float16"))
    assert engine.warm_up(8) > 0
