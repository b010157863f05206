"""Hyperparameters and channels as CreateAlgorithm describes them, and ranges worth searching."""

import dataclasses
from typing import Any

from train.hyperparameters import FIELDS
from train.schema import AUTO
from train.sources.formats import FORMATS
from train.sources.layout import SPLITS

LOGARITHMIC, LINEAR = "Logarithmic", "Linear"

CONTINUOUS = {
    "learning_rate": (1e-4, 1e-1, LOGARITHMIC),
    "weight_decay": (1e-5, 1e-1, LOGARITHMIC),
    "epsilon": (1e-9, 1e-6, LOGARITHMIC),
    "label_smoothing": (0.0, 0.2, LINEAR),
    "momentum": (0.8, 0.99, LINEAR),
    "mixup": (0.0, 0.4, LINEAR),
    "cutmix": (0.0, 1.0, LINEAR),
    "random_erasing": (0.0, 0.5, LINEAR),
    "backbone_learning_rate_factor": (0.01, 1.0, LOGARITHMIC),
}
INTEGER = {"epochs": (2, 20, LINEAR)}
CATEGORICAL = {
    "batch_size": ("16", "32", "64", "128"),
    "optimizer": ("sgd", "adam", "adamw"),
    "augmentation": ("none", "flip", "crop", "strong"),
    "schedule": ("cosine", "step", "constant"),
}
FIRST = ("learning_rate", "batch_size", "weight_decay")
"""The ranges to begin with: what matters most."""

MOST_RANGE_CHARACTERS = 256
"""Of a description, by the API."""


def hyperparameters() -> list[dict[str, Any]]:
    """SupportedHyperParameters of CreateAlgorithm."""
    return [_hyperparameter(name, item) for name, item in FIELDS.items()]


def _hyperparameter(name: str, item: Any) -> dict[str, Any]:
    described: dict[str, Any] = {
        "Name": name,
        "Description": item.metadata["meaning"][:MOST_RANGE_CHARACTERS],
        "Type": "FreeText",
        "IsTunable": name in (*CONTINUOUS, *INTEGER, *CATEGORICAL),
        "IsRequired": False,
        "DefaultValue": _default(item),
    }
    kind = _range(item)
    if kind is not None:
        described["Type"], described["Range"] = kind
    return described


def _default(item: Any) -> str:
    default = item.default_factory() if item.default is dataclasses.MISSING else item.default
    if item.metadata["auto"] and default == AUTO:
        return "auto"
    return str(default).lower() if isinstance(default, bool) else str(default)


def _range(item: Any) -> tuple[str, dict[str, Any]] | None:
    """Type and Range; None for free text. A word such as `auto` fits no range of numbers."""
    limits = item.metadata
    choices = limits["choices"] or (("true", "false") if item.type is bool else None)
    if choices and item.type != list[str]:
        values = {"CategoricalParameterRangeSpecification": {"Values": list(choices)}}
        return "Categorical", values
    if limits["auto"] or item.type not in (int, float):
        return None
    low = limits["low"] if limits["above"] is None else limits["above"]
    ends = {"MinValue": f"{low:g}", "MaxValue": f"{limits['high']:.17g}"}
    if item.type is int:
        ends = {"MinValue": str(int(low)), "MaxValue": str(int(limits["high"]))}
        return "Integer", {"IntegerParameterRangeSpecification": ends}
    return "Continuous", {"ContinuousParameterRangeSpecification": ends}


def ranges(names: tuple[str, ...] = FIRST) -> dict[str, list[dict[str, Any]]]:
    """ParameterRanges of CreateHyperParameterTuningJob, over `names`."""
    return {
        "ContinuousParameterRanges": [
            _ends(name, *CONTINUOUS[name]) for name in names if name in CONTINUOUS
        ],
        "IntegerParameterRanges": [
            _ends(name, *INTEGER[name]) for name in names if name in INTEGER
        ],
        "CategoricalParameterRanges": [
            {"Name": name, "Values": list(CATEGORICAL[name])}
            for name in names
            if name in CATEGORICAL
        ],
    }


def all_ranges() -> dict[str, list[dict[str, Any]]]:
    return ranges((*CONTINUOUS, *INTEGER, *CATEGORICAL))


def _ends(name: str, low: float, high: float, scaling: str) -> dict[str, Any]:
    return {"Name": name, "MinValue": f"{low:g}", "MaxValue": f"{high:g}", "ScalingType": scaling}


def channels() -> list[dict[str, Any]]:
    """TrainingChannels of CreateAlgorithm."""
    types = list(dict.fromkeys(one for each in FORMATS for one in each.content_types))
    photos = {
        "train": "Photos to learn from; of all splits, where it holds folders of them.",
        "validation": "Photos that choose the best epoch; without it a fifth of each class.",
        "test": "Photos for the final evaluation; without it the validation photos.",
    }
    made = [
        {
            "Name": split, "Description": photos[split], "IsRequired": split == "train",
            "SupportedContentTypes": types, "SupportedCompressionTypes": ["None"],
            "SupportedInputModes": ["File", "FastFile", "Pipe"],
        }
        for split in SPLITS
    ]  # fmt: skip
    weights = {
        "pretrained": "Weights to start from: one .pth, one .safetensors, or an artifact.",
        "model": "An earlier job's model.tar.gz: training goes on from there.",
    }
    return made + [
        {
            "Name": name, "Description": text, "IsRequired": False,
            "SupportedContentTypes": ["application/octet-stream", "application/x-tar"],
            "SupportedCompressionTypes": ["None"], "SupportedInputModes": ["File", "FastFile"],
        }
        for name, text in weights.items()
    ]  # fmt: skip
