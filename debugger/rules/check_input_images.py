"""Images that are not centred on zero.

Documented: after `threshold_samples` images, abs(mean of a channel) > threshold_mean. The
documented regex is MXNet's name; ours also finds the root module's input in PyTorch, which smdebug
calls after its class (`ResNet_input_0`). `channel` is the axis of the channels, 1 for N x C x H x
W. A data set that is darker or brighter than the one that mean and std come from exceeds 0.2 as
well, so the finding is `possible`: the rule input_not_normalised is the surer one. A job that
saves fewer images cannot be judged.
"""

import numpy as np

from debugger.rules.base import NETWORK_INPUT, Array, Finding, TensorRule
from debugger.rules.parameters import Parameter, number, pattern, whole
from debugger.verdict import Sureness


class CheckInputImages(TensorRule):
    name = "check_input_images"
    summary = "the mean of an input channel is further from 0 than `threshold_mean`"
    parameters = {
        "threshold_mean": Parameter(0.2, number, "Of abs(mean) of a channel."),
        "threshold_samples": Parameter(500, whole, "Images before it is judged."),
        "regex": Parameter(
            f".*hybridsequential0_input_0|{NETWORK_INPUT}", pattern, "Names of the network's input."
        ),
        "channel": Parameter(1, whole, "Axis of the channels."),
    }
    saves = ("input_image",)
    cheap = False

    def begin(self) -> None:
        self._images = self._broken = 0
        self._sums: Array | None = None

    def look(self, step: int) -> None:
        for name in self.matching(step, (), self.chosen.regex):
            value = self.value(name, step)
            if value is None or value.ndim != 4:
                continue
            self.seen(step)
            if not np.isfinite(value).all():
                self._broken += len(value)
                return
            axes = tuple(axis for axis in range(4) if axis != self.chosen.channel)
            sums = value.astype(np.float64).mean(axis=axes) * len(value)
            if self._sums is None or self._sums.shape != sums.shape:
                self._sums, self._images = np.zeros_like(sums), 0
            self._sums += sums
            self._images += len(value)
            if self._images >= self.chosen.threshold_samples:
                means = self._sums / self._images
                if np.abs(means).max() > self.chosen.threshold_mean:
                    words = f"channel means {', '.join(f'{each:.3f}' for each in means)}"
                    self.fire(step, name, float(np.abs(means).max()), words)
            return

    def finding(self) -> Finding:
        worst = self.worst[0]
        return Finding(
            f"{worst} has {self.fired[worst].words} over {self._images} images",
            "subtract the data set's mean and divide by its std, per channel, before the network "
            "(this image's train program does)",
            sureness=Sureness.POSSIBLE,
            details={"images": self._images},
        )

    def unready(self) -> str:
        if self._images >= self.chosen.threshold_samples:
            return ""
        if self._broken:
            return f"{self._broken} images are in batches with NaN or infinity: see nan_or_inf"
        return (
            f"{self._images} images were saved, and {self.chosen.threshold_samples} are needed; "
            f"set threshold_samples={self._images}"
        )
