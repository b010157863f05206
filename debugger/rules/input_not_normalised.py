"""Photos that reach the network as raw pixels.

Ours. Looks at the range of the root module's input, not at its mean: normalised photos lie on both
sides of zero, within about +-3. Values from 0 to 1 are pixels divided by 255 and no more, values
above `largest` are raw pixels, and a spread below `smallest` is no picture. Unlike
check_input_images it does not mind a dark or bright data set, and needs `images` images only.
"""

import numpy as np

from debugger.rules.base import NETWORK_INPUT, Finding, TensorRule
from debugger.rules.parameters import Parameter, number, pattern, whole
from debugger.verdict import Sureness


class InputNotNormalised(TensorRule):
    name = "input_not_normalised"
    summary = "the network's input has the range of raw pixels"
    parameters = {
        "regex": Parameter(NETWORK_INPUT, pattern, "Names of the network's input.", ours=True),
        "images": Parameter(8, whole, "Images before it is judged.", ours=True),
        "largest": Parameter(20.0, number, "No normalised value is above it.", ours=True),
        "smallest": Parameter(0.05, number, "No photos have a smaller std.", ours=True),
    }
    saves = ("input_image",)
    cheap = False

    def begin(self) -> None:
        self._images = self._broken = 0
        self._low, self._high = np.inf, -np.inf
        self._squares: list[float] = []

    def look(self, step: int) -> None:
        for name in self.matching(step, (), self.chosen.regex):
            value = self.value(name, step)
            if value is None or value.ndim != 4:
                continue
            self.seen(step)
            if not np.isfinite(value).all():
                self._broken += len(value)
                return
            self._images += len(value)
            self._low = min(self._low, float(value.min()))
            self._high = max(self._high, float(value.max()))
            self._squares = [*self._squares, float(value.std())][-100:]
            if self._images >= self.chosen.images:
                self._judge(step, name)
            return

    def _judge(self, step: int, name: str) -> None:
        spread = float(np.mean(self._squares))
        size = f"from {self._low:.3g} to {self._high:.3g}, std {spread:.3g}"
        if self._high > self.chosen.largest:
            self.fire(step, name, self._high, f"raw pixels: {size}")
        elif self._low >= 0 and self._high <= 1:
            self.fire(step, name, 1, f"pixels divided by 255 and not normalised: {size}")
        elif spread < self.chosen.smallest:
            self.fire(step, name, 1 / (spread + 1e-30), f"hardly any difference: {size}")

    def finding(self) -> Finding:
        worst = self.worst[0]
        return Finding(
            f"{worst} holds {self.fired[worst].words}, in {self._images} images",
            "subtract (0.485, 0.456, 0.406) from pixels / 255 and divide by (0.229, 0.224, 0.225), "
            "as this image's train and serve programs do",
            "trained weights expect inputs of mean 0 and std 1",
            Sureness.CERTAIN if self._high > self.chosen.largest else Sureness.LIKELY,
            {"low": self._low, "high": self._high, "images": self._images},
        )

    def unready(self) -> str:
        if self._images >= self.chosen.images:
            return ""
        if self._broken:
            return f"{self._broken} images are in batches with NaN or infinity: see nan_or_inf"
        return f"{self._images} images were saved, and {self.chosen.images} are needed"

    def healthy(self) -> str:
        return f"{self._images} images lie from {self._low:.3g} to {self._high:.3g}"
