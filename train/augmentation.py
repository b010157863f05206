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

    def __call__(self, image: Image.Image) -> Pixels:
        """RGB image -> H x W x 3 uint8, by torch's global random generator."""
        return fit_or_keep(self._change(image), self.preprocessing)


def fit_or_keep(image: Image.Image, preprocessing: Preprocessing) -> Pixels:
    """A crop has its final size already; resizing it once more would cut its margin off."""
    if image.size == (preprocessing.image_size, preprocessing.image_size):
        whole = Preprocessing(preprocessing.image_size, preprocessing.image_size)
        return fit(image, whole)
    return fit(image, preprocessing)
