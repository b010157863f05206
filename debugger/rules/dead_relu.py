"""Layers most of whose units never answer.

Documented: a unit is dead if it is active (> 0) in less than `threshold_inactivity` % of what was
observed; fires if more than `threshold_layer` % of a layer's units are. Whether "active" is meant
over time or over the batch is not defined. Decided here: a unit is observed over the photos and
the places of one saved step; it is a channel of a convolution (`unit=channel`), or every place of
one (`unit=element`, which observes over the photos only). The default regex also takes
`ReLU_output`, which PyTorch code has where attributes are called after the class. In an
`nn.Sequential` layers have numbers, which no regex can know: there the collection `relu_output` of
this image's hook names them; of other jobs give `tensor_regex`.
"""

import numpy as np

from debugger.rules.base import Finding, TensorRule, lower_rate, several
from debugger.rules.parameters import Parameter, number, one_of, pattern
from debugger.verdict import Sureness

REGEX = r".*relu_output|.*ReLU_output"


class DeadRelu(TensorRule):
    name = "dead_relu"
    summary = "more than `threshold_layer` % of a layer's units are dead"
    parameters = {
        "tensor_regex": Parameter(REGEX, pattern, "Outputs that are looked at."),
        "threshold_inactivity": Parameter(1.0, number, "Per cent; active less often is dead."),
        "threshold_layer": Parameter(50.0, number, "Per cent of a layer's units."),
        "unit": Parameter(
            "channel", one_of("channel", "element"), "What counts as one unit.", ours=True
        ),
    }
    saves = ("relu_output",)
    cheap = False

    def look(self, step: int) -> None:
        # the hook knows a ReLU by its kind, whatever it is called
        ready = self.saves if self.chosen.tensor_regex == REGEX else ()
        for name in self.matching(step, ready, self.chosen.tensor_regex):
            value = self.value(name, step)
            if value is None or value.ndim < 2 or not value.size:
                continue
            self.seen(step)
            over = (0, *range(2, value.ndim)) if self.chosen.unit == "channel" else (0,)
            active = 100 * (value > 0).mean(axis=over)
            dead = 100 * float(np.mean(active < self.chosen.threshold_inactivity))
            if dead > self.chosen.threshold_layer:
                words = f"{dead:.0f} % of {active.size} units are dead at step {step}"
                self.fire(step, name, dead, words)

    def finding(self) -> Finding:
        worst = self.worst[0]
        frozen = self.evidence.word("fine_tune") == "head"
        return Finding(
            f"{several(self.worst)}: of {worst} {self.fired[worst].words}"
            + (" (the backbone is frozen: its units were dead before)" if frozen else ""),
            f"set {lower_rate(self.evidence)} and warmup_epochs=1, or start from trained weights "
            "(pretrained=true)",
            f"a layer with {self.fired[worst].worst:.0f} % dead units works with the rest only",
            Sureness.POSSIBLE if frozen else Sureness.LIKELY,
            {"dead_percent": self.fired[worst].worst, "layers": len(self.fired)},
        )

    def missing(self) -> str:
        return (
            f"{super().missing()}; layers of an nn.Sequential have numbers for names: give the "
            'rule a tensor_regex, such as "^2_output"'
        )
