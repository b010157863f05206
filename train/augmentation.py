"""Random changes of training photos, by torchvision, on decoded RGB images of any size."""

from collections.abc import Callable
from typing import Any

from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from artifact.preprocess import Pixels, Preprocessing, fit

Augment = Callable[[Image.Image], Pixels]

CROP_SCALE = (0.35, 1.0)
"""Part of the photo that a crop keeps. torchvision's 0.08 is made for a million photos; on a few
hundred it often cuts the subject away."""


class Augmentation:
    """`none` is exactly the preprocessing of evaluation and serving."""

    def __init__(self, name: str, preprocessing: Preprocessing) -> None:
        self.name = name
        self.preprocessing = preprocessing
        side = preprocessing.image_size
        flip = transforms.RandomHorizontalFlip()
        crop = transforms.RandomResizedCrop(side, scale=CROP_SCALE)
        strong = transforms.TrivialAugmentWide(interpolation=InterpolationMode.BILINEAR)
        steps: dict[str, list[Any]] = {
            "none": [],
            "flip": [flip],
            "crop": [crop, flip],
            "strong": [crop, flip, strong],
        }
        self._change = transforms.Compose(steps[name])
        # a crop has its final size already: fitting it once more would cut its margin off
        self._fit = Preprocessing(side, side) if crop in steps[name] else preprocessing

    def __call__(self, image: Image.Image) -> Pixels:
        """RGB image -> H x W x 3 uint8, by torch's global random generator."""
        return fit(self._change(image), self._fit)
