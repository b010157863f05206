"""Tanh and sigmoid units whose input lies where they are flat.

Documented: an input outside [min, max] counts as saturated; a unit whose activity is below
`threshold_inactivity` % is; fires if more than `threshold_layer` % of a layer's units are. Decided
here: activity is the share of a unit's inputs, over the photos and places of one saved step, that
lie within the limits; a tensor is a sigmoid's if its name says so, else a tanh's. The default
regex also takes `Tanh_input` and `Sigmoid_input`. Networks without such layers, like ResNet, have
nothing to check, and the rule is not applicable.
"""

import numpy as np

from debugger.rules.base import Finding, TensorRule, lower_rate, several
from debugger.rules.parameters import Parameter, names, number, pattern, perhaps

REGEX = r".*tanh_input|.*sigmoid_input|.*Tanh_input|.*Sigmoid_input"


class SaturatedActivation(TensorRule):
    name = "saturated_activation"
    summary = "more than `threshold_layer` % of a tanh's or sigmoid's units are saturated"
    parameters = {
        "collection_names": Parameter(None, perhaps(names), "Collections that are looked at."),
        "tensor_regex": Parameter(REGEX, perhaps(pattern), "Inputs that are looked at."),
        "threshold_tanh_min": Parameter(-9.4999, number, "Below it a tanh is saturated."),
        "threshold_tanh_max": Parameter(9.4999, number, "Above it a tanh is saturated."),
        "threshold_sigmoid_min": Parameter(-23.0, number, "Below it a sigmoid is saturated."),
        "threshold_sigmoid_max": Parameter(16.99999, number, "Above it a sigmoid is saturated."),
        "threshold_inactivity": Parameter(1.0, number, "Per cent; active less often is saturated."),
        "threshold_layer": Parameter(50.0, number, "Per cent of a layer's units."),
    }
    saves = ("tanh_input", "sigmoid_input")
    cheap = False

    def look(self, step: int) -> None:
        chosen = self.chosen
        for name in self.matching(step, chosen.collection_names or (), chosen.tensor_regex):
            value = self.value(name, step)
            if value is None or value.ndim < 2 or not value.size:
                continue
            self.seen(step)
            kind = "sigmoid" if "sigmoid" in name.lower() else "tanh"
            low = getattr(chosen, f"threshold_{kind}_min")
            high = getattr(chosen, f"threshold_{kind}_max")
            within = ((value >= low) & (value <= high)).mean(axis=(0, *range(2, value.ndim)))
            share = 100 * float(np.mean(100 * within < chosen.threshold_inactivity))
            if share > chosen.threshold_layer:
                words = f"{share:.0f} % of {within.size} units are saturated at step {step}"
                self.fire(step, name, share, words)

    def finding(self) -> Finding:
        worst = self.worst[0]
        return Finding(
            f"{several(self.worst)}: of {worst} {self.fired[worst].words}",
            f"set {lower_rate(self.evidence)}, or take a network with ReLU and normalisation "
            "(network=resnet50)",
            "a saturated unit passes no gradient back, so that nothing before it learns",
            details={"saturated_percent": self.fired[worst].worst, "layers": len(self.fired)},
        )

    def missing(self) -> str:
        return f"no input of a tanh or sigmoid was saved; {super().missing()}"
