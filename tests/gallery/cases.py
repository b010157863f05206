"""Which run has which rule's disease, with which parameters, and how soon the rule must fire."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    rule: str
    run: str
    disease: str
    within: int
    """Global steps of the run, of training and of evaluation."""
    parameters: dict[str, str] = field(default_factory=dict)
    """Of the healthy runs, too; empty is the documented defaults."""
    at_end: bool = False
    """Judged when all has been seen."""


HEALTHY = ("healthy", "frozen", "smooth")

CASES = (
    Case("vanishing_gradient", "deep", "thirteen sigmoids in a row", 0),
    Case("exploding_tensor", "poison", "a layer divides by zero from update 10 on", 14),
    Case("nan_or_inf", "poison", "the same; the layer is named", 14),
    Case("dead_relu", "dead", "a convolution's bias of -100", 0),
    Case("saturated_activation", "flat", "weights 500 times too large before a tanh", 1),
    Case("poor_weight_initialization", "tiny", "weights a thousandth of the usual", 9),
    Case("weight_update_ratio", "still", "learning rate 1e-12", 1),
    Case("all_zero", "dead", "no gradient passes the dead layer", 0),
    Case("unchanged_tensor", "still", "the same photos in every step, learning rate 1e-12", 2),
    Case("tensor_variance", "huge", "weights 30 times the usual", 0, {"max_threshold": "2"}),
    Case("loss_not_decreasing", "still", "learning rate 1e-12", 60),
    Case("learning_rate_too_high", "fast", "a head at learning rate 30 on blurred classes", 8),
    Case("head_not_learning", "cut", "the head is frozen in place of the backbone", 4),
    Case("overfit", "heart", "photos of noise, learned by heart", 80),
    Case("overtraining", "heart", "the same, 16 times over", 108),
    Case("class_imbalance", "unbalanced", "one photo in sixteen of a class is labelled so", 45),
    Case("confusion", "twins", "two classes that look the same", 23, at_end=True),
    Case("check_input_images", "raw", "pixels from 0 to 255", 45),
    Case("input_not_normalised", "raw", "pixels from 0 to 255", 0),
    Case("label_leakage", "twins", "photos of training are evaluated", 23, at_end=True),
    Case("similar_across_runs", "fast", "noisier photos than those of the job compared with", 1),
    Case("stalled_training_rule", "asleep", "a step that takes 4 s", 5, {"threshold": "3"}),
)  # fmt: skip


def table() -> str:
    """The static columns, for the guide."""
    lines = ["| rule | planted disease | fires within steps | parameters |", "|---|---|---|---|"]
    for case in CASES:
        when = "at the end" if case.at_end else str(case.within)
        given = ", ".join(f"`{name}={value}`" for name, value in case.parameters.items())
        lines.append(f"| `{case.rule}` | {case.disease} | {when} | {given or 'defaults'} |")
    return "\n".join(lines)
