"""Random changes of training photos, by torchvision, on decoded RGB images of any size."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torchvision.transforms import InterpolationMode

from artifact.preprocess import Pixels, Preprocessing, fit
from artifact.vision import transforms

Augment = Callable[[Image.Image], Pixels]

CROP_SCALE = (0.35, 1.0)
"""Part of the photo that a crop keeps. torchvision's 0.08 is made for a million photos; on a few
hundred it often cuts the subject away."""


class Augmentation:
    """`none` is exactly the preprocessing of evaluation and serving."""

    def __init__(self, name: str, preprocessing: Preprocessing, erasing: float = 0.0) -> None:
        self.name = name
        self.erasing = erasing
        self.random = name != "none" or erasing > 0
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
        pixels = fit(self._change(image), self._fit)
        return erase(pixels, self.preprocessing.mean, self.erasing) if self.erasing else pixels


def erase(pixels: Pixels, mean: Sequence[float], share: float) -> Pixels:
    """Random Erasing (Zhong et al. 2020) with its paper's boxes, by torch's global generator: in
    that `share` of photos a box becomes the mean colour, which the network sees as 0."""
    if torch.rand(1).item() >= share:
        return pixels
    planes = torch.empty((3, *pixels.shape[:2]), device="meta")  # only its size is looked at
    top, left, height, width, _ = transforms.RandomErasing.get_params(
        planes, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=[0.0]
    )
    erased = pixels.copy()
    erased[top : top + height, left : left + width] = [round(255 * one) for one in mean]
    return erased
