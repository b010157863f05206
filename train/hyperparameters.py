"""Hyperparameters: each declared once; parsing, error texts and the guide's table read it."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from container.failure import HyperparameterError
from debugger.hook.settings import COLLECTIONS, REDUCTIONS
from debugger.profiler import settings as profiling
from train.schema import AUTO, convert, declare, nearest


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    network: str = declare(
        "resnet50", "torchvision's name of the network, or `small_cnn`.", "the field's baseline"
    )
    pretrained: bool = declare(
        True, "Start from trained weights.", "transfer beats training from scratch on small data"
    )
    fine_tune: str = declare(
        "head",
        "Which weights are trained: the last layers, or all.",
        "quick, and hard to get wrong on a few photos",
        choices=("head", "all"),
    )
    hidden_units: list[int] = declare(
        [],
        "Sizes of extra fully connected layers before the last one.",
        "one linear layer is enough for good features",
        low=1,
        high=65536,
    )
    epochs: int = declare(
        10, "Passes over the train channel.", "a head has settled by then", low=1, high=100_000
    )
    batch_size: int = declare(
        32,
        "Images per update, over all processes; auto asks the photos and the GPU's memory.",
        "small enough for any machine",
        low=1,
        high=65536,
        aliases=("mini_batch_size",),
        auto=True,
    )
    evaluation_batch_size: int = declare(
        64,
        "Images per forward pass of the evaluation.",
        "needs no gradients, so twice the mini-batch fits",
        low=1,
        high=65536,
        aliases=("test_batch_size",),
    )
    optimizer: str = declare(
        "adamw",
        "Update rule.",
        "works over a wide range of learning rates",
        choices=("sgd", "adam", "adamw"),
    )
    learning_rate: float = declare(
        0.001,
        "Peak learning rate; belongs to `batch_size`, nothing scales it; auto tries a range first.",
        "AdamW's usual value for a new head",
        above=0,
        high=100,
        aliases=("lr",),
        auto=True,
    )
    backbone_learning_rate_factor: float = declare(
        float(AUTO),
        "Learning rate of the backbone as a part of the head's; auto is 0.1 from trained weights, "
        "else 1.",
        "a new head's errors would wash trained weights out",
        low=0,
        high=1,
        auto=True,
    )
    momentum: float = declare(0.9, "Momentum of `sgd`.", "the field's value", low=0, high=0.9999)
    epsilon: float = declare(
        1e-8,
        "Term that keeps Adam's division finite.",
        "PyTorch's value",
        above=0,
        high=1,
        aliases=("eps",),
    )
    weight_decay: float = declare(
        0.01, "Decay of the weights per unit of learning rate.", "AdamW's value", low=0, high=10
    )
    schedule: str = declare(
        "cosine",
        "Learning rate over the epochs: falls as a cosine, by 10 at thirds, or stays.",
        "no step to place by hand",
        choices=("cosine", "step", "constant"),
    )
    warmup_epochs: float = declare(
        0.5,
        "Epochs, or a part of one, over which the learning rate rises linearly.",
        "a new head's first gradients are large",
        low=0,
        high=1000,
    )
    ema_decay: float = declare(
        float(AUTO),
        "Decay, per update, of the average of the weights that is evaluated and kept; 0 keeps the "
        "weights themselves; auto is 0 for `head`, about an epoch for `all`.",
        "an average is steadier than its last step",
        low=0,
        high=0.99999,
        auto=True,
    )
    label_smoothing: float = declare(
        0.0, "Share of the target spread over all classes.", "probabilities stay honest", low=0,
        high=0.9,
    )  # fmt: skip
    image_size: int = declare(
        224, "Side of the square that the network sees.", "what weights were published for",
        low=8, high=2048,
    )  # fmt: skip
    augmentation: str = declare(
        "auto",
        "Random changes of training photos; auto is none for `head` and flip for `all`.",
        "few weights do not overfit; many do",
        choices=("auto", "none", "flip", "crop", "strong"),
    )
    feature_cache: bool = declare(
        True,
        "Compute a frozen backbone's features once per photo and keep them (`fine_tune=head`).",
        "epochs, restarts and tuning trials then cost next to nothing",
    )
    feature_views: int = declare(
        0,
        "Augmented copies per photo whose features are kept; 0 is one per epoch, at most 8.",
        "one copy alone would not augment",
        low=0,
        high=1000,
    )
    random_erasing: float = declare(
        0.0,
        "Share of training photos in which a box is blanked out.",
        "hides a small subject; helps long training of all weights",
        low=0,
        high=1,
    )
    mixup: float = declare(
        0.0, "Alpha of mixup, which blends training photos in pairs; 0 for none.",
        "pays after tens of epochs only", low=0, high=10,
    )  # fmt: skip
    cutmix: float = declare(
        0.0, "Alpha of CutMix, which pastes a box of one photo into another; with `mixup`, half of "
        "the mini-batches each.", "pays after tens of epochs only", low=0, high=10,
    )  # fmt: skip
    class_weighting: str = declare(
        "none",
        "`balanced` weighs photos of rare classes up in the loss.",
        "accuracy counts photos; balance where rare classes matter more",
        choices=("none", "balanced"),
    )
    test_time_flip: bool = declare(
        False, "Classify a photo and its mirror image, in evaluation and serving alike.",
        "a little accuracy for twice the time",
    )  # fmt: skip
    multi_label: bool = declare(
        False,
        "Photos may have several labels or none: a probability for each, that need not add up to "
        "1. Needless where the data set gives a photo several.",
        "folders give one label a photo",
    )
    train_fraction: float = declare(
        1.0, "Stratified part of the train split that is used.", "all of it", above=0, high=1
    )
    validation_fraction: float = declare(
        1.0, "The same for the validation split.", "all of it", above=0, high=1
    )
    test_fraction: float = declare(
        1.0, "The same for the test split.", "all of it", above=0, high=1
    )
    train_on_validation: bool = declare(
        False,
        "Train on the validation photos as well, and keep the last epoch: for the last training "
        "after a search.",
        "validation is worth something only on photos that the network has not learned",
    )
    early_stopping_patience: int = declare(
        0,
        "Epochs without a better validation accuracy before training ends; 0 never ends it.",
        "the best epoch is kept anyway",
        low=0,
        high=100_000,
    )
    bad_file_limit: float = declare(
        0.01,
        "Part of a split's files that may be unreadable (5 files always may) before the job ends.",
        "a few broken photos are normal, many are a broken upload",
        low=0,
        high=1,
    )
    data_policy: str = declare(
        "skip",
        "Unreadable files, and train photos that another split holds too: end the job, leave them "
        "out, or leave them out and copy them into the output folder.",
        "a few broken files are no reason to lose a job",
        choices=("error", "skip", "quarantine"),
    )
    seed: int = declare(
        0,
        "Seed of every random choice but the changes of `feature_views` copies.",
        "repeatable by default",
        low=0,
        high=2**31 - 1,
    )
    num_workers: int = declare(
        -1,
        "Processes that decode photos; -1 plans them from processors and shared memory.",
        "the container's share is known at start only",
        low=-1,
        high=256,
    )
    precision: str = declare(
        "auto",
        "Arithmetic of the network; auto takes bfloat16 where the hardware multiplies in it.",
        "twice as fast there, slower elsewhere",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    compile_engine: str = declare(
        "auto",
        "Whether the model gets a compiled engine for processors (OpenVINO), which serves without "
        "torch; auto leaves out a search's trials and networks that are quick anyway.",
        "several times as fast, and starts in a second",
        choices=("auto", "true", "false"),
    )
    int8_tolerance: float = declare(
        0.5,
        "Points of top-1 accuracy on held-out photos that the engine may lose by computing in "
        "int8, counted from 1,000 photos; of fewer, no more than chance explains.",
        "less than two trainings differ by",
        low=0,
        high=100,
    )
    checkpoint_minutes: float = declare(
        10.0,
        "Minutes after which an epoch under way is saved, too; 0 saves at its end only.",
        "what a kill may cost",
        low=0,
        high=100_000,
    )
    stall_seconds: int = declare(
        0,
        "Seconds without a step after which the log gets all stacks, and after as many again the "
        "job fails; 0 takes 60, or 20 times the usual step.",
        "a deadlock is noticed, a slow disk is none",
        low=0,
        high=1_000_000,
    )
    log_interval: int = declare(
        50, "Steps between progress lines in a log; 0 for none.", "a sign of life per minute",
        low=0, high=1_000_000,
    )  # fmt: skip
    debug_save_interval: int = declare(
        0,
        "Updates between tensors saved by the Debugger's hook; 0 saves none, or is 500 where one "
        "of the three lists below asks for something.",
        "debugging is asked for",
        low=0,
        high=1_000_000,
    )
    debug_eval_save_interval: int = declare(
        1,
        "The same for evaluations, in mini-batches of `evaluation_batch_size`: 1 saves all.",
        "there are few, and rules compare them",
        low=1,
        high=1_000_000,
    )
    debug_collections: list[str] = declare(
        [],
        "What is saved; none means weights, biases, gradients and losses. Losses always are.",
        "what most rules read",
        choices=COLLECTIONS,
    )
    debug_include_regex: list[str] = declare(
        [],
        "Regular expressions for names of other tensors to save, found anywhere in them.",
        "the collections are enough",
        patterns=True,
    )
    debug_reductions: list[str] = declare(
        [],
        "Numbers that are saved of each tensor in its place.",
        "rules look at whole tensors",
        choices=REDUCTIONS,
    )
    debug_histograms: bool = declare(
        False,
        "TensorBoard gets histograms of all that is saved, too, not only losses and learning rate.",
        "they take longer than saving does",
    )
    debug_budget: float = declare(
        3.0,
        "Per cent of the job's time that saving may take before its interval is widened; 0 for "
        "any.",
        "less than runs differ by",
        low=0,
        high=1000,
    )
    profile: str = declare(
        "system",
        "Profiler: `system` measures the machine and times the steps, `steps:A-B` also traces "
        "those steps with Python's stacks, `off` does nothing.",
        "it costs less than 1 % of a processor, and says what the next job should change",
        forms="`off`, `system`, `steps:A-B`",
    )
    profiler_interval_ms: int = declare(
        profiling.INTERVAL_MS, "Milliseconds between two samples of the machine.",
        "the platform's", low=profiling.LEAST_INTERVAL_MS, high=profiling.MOST_INTERVAL_MS,
    )  # fmt: skip
    rules: str = declare(
        "",
        "The Debugger's rules that run beside the training: names with commas between, `all`, or "
        "JSON; see docs/diagnose.md.",
        "diagnosing is asked for",
        forms="names, `all`, or JSON",
    )
    rule_action: str = declare(
        "warn",
        "What a rule does that fires and names no action itself: a line in the log, the job's end "
        "as a failure, or the end of training with the best weights.",
        "a rule may be wrong, and a warning costs nothing",
        choices=("warn", "stop", "stop_and_keep_best"),
    )
    strict: bool = declare(
        True, "Refuse unknown names; false only warns.", "a misspelt name is a wasted job"
    )

    @property
    def resolved_augmentation(self) -> str:
        if self.augmentation != "auto":
            return self.augmentation
        return "flip" if self.fine_tune == "all" else "none"

    @property
    def resolved_views(self) -> int:
        if self.resolved_augmentation == "none":
            return 1
        return self.feature_views or min(self.epochs, 8)

    @property
    def changes_every_photo(self) -> str:
        """The hyperparameter, if any, that features computed once per photo cannot serve."""
        asked = ("test_time_flip", "random_erasing", "mixup", "cutmix")
        return next((name for name in asked if getattr(self, name)), "")

    @property
    def resolved_backbone_factor(self) -> float:
        """A frozen backbone has no rate, and from random weights there is nothing to keep."""
        if self.backbone_learning_rate_factor != AUTO:
            return self.backbone_learning_rate_factor
        return 0.1 if self.pretrained and self.fine_tune == "all" else 1.0

    def as_written(self) -> dict[str, Any]:
        """Name -> value, as it could be given: with the word `auto`."""
        return {
            name: "auto" if FIELDS[name].metadata["auto"] and value == AUTO else value
            for name, value in dataclasses.asdict(self).items()
        }


FIELDS = {item.name: item for item in dataclasses.fields(Hyperparameters)}
ALIASES = {alias: name for name, item in FIELDS.items() for alias in item.metadata["aliases"]}


def parse(raw: dict[str, Any]) -> tuple[Hyperparameters, list[str]]:
    """The values, and warnings. Raises HyperparameterError with every mistake at once."""
    values: dict[str, Any] = {}
    given: dict[str, str] = {}
    mistakes: list[str] = []
    unknown: list[str] = []
    for key, text in raw.items():
        if is_platform_key(key):
            continue
        name = key.strip().replace("-", "_").lower()
        name = ALIASES.get(name, name)
        if name not in FIELDS:
            unknown.append(f"{key}: unknown hyperparameter{_did_you_mean(name)}")
            continue
        try:
            value = convert(text, FIELDS[name])
        except ValueError as error:
            mistakes.append(f"{key}={text!r}: expected {error}")
            continue
        if name in values and values[name] != value:
            mistakes.append(
                f"{key}={text!r}: {given[name]} says {values[name]!r}; give one of them"
            )
        values[name], given[name] = value, key
    if values.get("strict", True):
        mistakes = unknown + mistakes
        unknown = []
    warmup, epochs = values.get("warmup_epochs", 0), values.get("epochs", FIELDS["epochs"].default)
    if warmup > epochs:
        mistakes.append(f"warmup_epochs={warmup}: expected at most epochs={epochs}")
    if "profile" in values:
        try:
            profiling.from_hyperparameters(values["profile"], profiling.INTERVAL_MS, Path())
        except ValueError as error:
            mistakes.append(f"profile={values['profile']!r}: expected {error}")
    if mistakes:
        count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}"
        raise HyperparameterError(f"{count}: {'; '.join(mistakes)}", details=mistakes)
    return Hyperparameters(**values), unknown


def is_platform_key(key: str) -> bool:
    """Names that the platform, its SDK and its tuner add by themselves pass unread."""
    return key.startswith(("_", "sagemaker_"))


def _did_you_mean(name: str) -> str:
    return nearest(name, [*FIELDS, *ALIASES]) or "; docs/train.md lists all names"
