"""The numbers and rules of preprocessing: reading them needs no decoder, following them does."""

from dataclasses import asdict, dataclass, fields
from typing import Any

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Per channel, of pixels scaled to [0, 1]; what torchvision's weights were trained with."""


@dataclass(frozen=True)
class Preprocessing:
    """Numbers and rules that travel in the artifact.

    The shorter side is resized to `resize`, then the middle `image_size` x `image_size` is cut out.
    """

    image_size: int
    resize: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: str = "bilinear"
    orientation: str = "exif"
    alpha: str = "white"
    frame: str = "first"

    @classmethod
    def for_size(cls, image_size: int) -> "Preprocessing":
        """torchvision's ratio of 256 to 224; small pictures have no margin to lose."""
        resize = round(image_size * 256 / 224) if image_size >= 128 else image_size
        return cls(image_size=image_size, resize=resize)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocessing":
        """Raises ValueError for rules that this version does not know: guessing would be silent."""
        known = {field.name for field in fields(cls)}
        if set(values) != known:
            raise ValueError(f"preprocessing holds {sorted(values)}, expected {sorted(known)}")
        made = cls(
            **{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])},
        )
        rules = (made.interpolation, made.orientation, made.alpha, made.frame)
        if rules != ("bilinear", "exif", "white", "first"):
            raise ValueError(f"preprocessing rules {rules} are not known")
        if not 1 <= made.image_size <= made.resize <= 8192:
            raise ValueError(f"image_size={made.image_size} and resize={made.resize} cannot be")
        if len(made.mean) != 3 or len(made.std) != 3 or min(made.std) <= 0:
            raise ValueError(f"mean={made.mean} and std={made.std} cannot be")
        return made

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
