"""Line charts and reliability diagrams as inline SVG, drawn for a width that a phone has."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pages.markup import Html, fill, join
from train.calibration import BINS, Reliability

WIDTH, HEIGHT = 340, 200
LEFT, RIGHT, TOP, BOTTOM = 52, 8, 8, 24
MOST_POINTS = 400
"""Points of one line: more than a screen shows, and a bound on the file."""
DOTS = 25
"""Up to so many points each is marked: a line of one point would show nothing."""
COLOURS = ("one", "two")
"""Classes of the style sheet; a chart has at most two lines."""


@dataclass(frozen=True)
class Line:
    name: str
    values: Sequence[float]


@dataclass(frozen=True)
class Scale:
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        part = (value - self.low) / ((self.high - self.low) or 1)
        return round(self.start + part * (self.end - self.start), 1)


def lines(
    title: str,
    epochs: Sequence[int],
    drawn: Sequence[Line],
    *,
    low: float | None = None,
    high: float | None = None,
    best: int | None = None,
) -> Html:
    """One figure; `best` is the epoch that is marked."""
    values = [value for line in drawn for value in line.values if math.isfinite(value)]
    if not values:
        return Html("")
    ticks = nice(min(values) if low is None else low, max(values) if high is None else high)
    x = Scale(min(epochs), max(epochs), LEFT + 6, WIDTH - RIGHT - 6)
    y = Scale(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP)
    if min(epochs) == max(epochs):
        x = Scale(epochs[0] - 1, epochs[0] + 1, LEFT, WIDTH - RIGHT)
    mark = Html("") if best is None or len(epochs) == 1 else fill(
        '<line class="mark" x1="$x" x2="$x" y1="$top" y2="$bottom"/>',
        x=x(best), top=TOP, bottom=HEIGHT - BOTTOM,
    )  # fmt: skip
    latest = ", ".join(f"{line.name} {short(line.values[-1])}" for line in drawn)
    return fill(
        "<figure><figcaption>$title</figcaption>"
        '<svg viewBox="0 0 $width $height" role="img" aria-label="$title; last: $latest">'
        "$grid$epochs$mark$lines</svg>$legend</figure>",
        title=title,
        width=WIDTH,
        height=HEIGHT,
        latest=latest,
        grid=_grid(ticks, y),
        epochs=_epochs(epochs, x),
        mark=mark,
        lines=join(_line(line, epochs, x, y, COLOURS[at]) for at, line in enumerate(drawn)),
        legend=_legend([f"{line.name} {short(line.values[-1])}" for line in drawn]),
    )


def nice(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers that hold `low` and `high` between the first and the last."""
    if high <= low:
        high = low + (abs(low) or 1) * 0.1
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 2.5, 5, 10) if each * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def short(value: float) -> str:
    return f"{value:.4g}"


def _grid(ticks: list[float], y: Scale) -> Html:
    return join(
        fill(
            '<line class="grid" x1="$left" x2="$right" y1="$y" y2="$y"/>'
            '<text x="$at" y="$base" text-anchor="end">$tick</text>',
            left=LEFT, right=WIDTH - RIGHT, y=y(tick), at=LEFT - 5, base=y(tick) + 4,
            tick=short(round(tick, 12)),
        )
        for tick in ticks
    )  # fmt: skip


def _epochs(epochs: Sequence[int], x: Scale) -> Html:
    first, last = epochs[0], epochs[-1]
    shown = sorted({first, last, *(e for e in (round((first + last) / 2),) if last - first > 3)})
    return join(
        fill(
            '<text x="$x" y="$y" text-anchor="middle">$epoch</text>',
            x=min(x(epoch), WIDTH - RIGHT - 4.0 * len(str(epoch))), y=HEIGHT - 7, epoch=epoch,
        )
        for epoch in shown
    )  # fmt: skip


def _line(line: Line, epochs: Sequence[int], x: Scale, y: Scale, colour: str) -> Html:
    step = -(-len(line.values) // MOST_POINTS)
    points = [
        (x(epoch), y(value))
        for epoch, value in [*zip(epochs, line.values, strict=True)][::-1][::step][::-1]
        if math.isfinite(value)
    ]
    dots = points if len(points) <= DOTS else points[-1:]
    return fill(
        '<g class="$colour"><polyline class="line" points="$points"/>$dots</g>',
        colour=colour,
        points=" ".join(f"{across},{down}" for across, down in points),
        dots=join(
            fill('<circle class="dot" cx="$x" cy="$y" r="3"/>', x=across, y=down)
            for across, down in dots
        ),
    )


def _legend(names: list[str]) -> Html:
    entries = (
        fill('<span class="$colour">$name</span>', colour=COLOURS[at], name=name)
        for at, name in enumerate(names)
    )
    return fill('<div class="legend">$entries</div>', entries=join(entries))


def reliability(title: str, measured: Reliability) -> Html:
    """Accuracy per bin of certainty; what lies between a bar and the diagonal is the error. Below,
    how many photos each bin has."""
    x = Scale(0, 1, LEFT, WIDTH - RIGHT)
    y = Scale(0, 1, HEIGHT - 24, TOP)
    below = Scale(0, max(*measured.counts, 1), 0, 36)
    base = HEIGHT + 36
    wide = x(1 / BINS) - x(0) - 1.5
    bars = []
    for number, (count, sure, right) in enumerate(
        zip(measured.counts, measured.confidence, measured.accuracy, strict=True)
    ):
        if not count:
            continue
        left, low, high = x(number / BINS), min(sure, right), max(sure, right)
        bars.append(_rect("bar", left, y(right), wide, y(0) - y(right)))
        bars.append(_rect("gap", left, y(high), wide, y(low) - y(high)))
        bars.append(_rect("bar", left, base - below(count), wide, below(count)))
    return fill(
        "<figure><figcaption>$title</figcaption>"
        '<svg class="one" viewBox="0 0 $width $height" role="img" aria-label="$title: ECE $ece">'
        '$grid$bars<line class="mark" x1="$x0" y1="$y0" x2="$x1" y2="$y1"/>$ticks'
        '<text x="$left" y="$photos" text-anchor="end">photos</text></svg>'
        '<div class="legend"><span class="one">accuracy</span><span class="two">gap to certainty'
        "</span></div></figure>",
        title=title,
        width=WIDTH,
        height=base + 4,
        ece=short(measured.ece),
        grid=_grid([0, 0.25, 0.5, 0.75, 1], y),
        bars=join(bars),
        x0=x(0), y0=y(0), x1=x(1), y1=y(1),
        ticks=join(
            fill('<text x="$x" y="$y" text-anchor="middle">$tick</text>',
                 x=min(x(tick), WIDTH - 17), y=HEIGHT - 9, tick=f"{tick:.0%}")
            for tick in (0, 0.25, 0.5, 0.75, 1)
        ),
        left=LEFT - 5,
        photos=base - 12,
    )  # fmt: skip


def _rect(css: str, x: float, y: float, width: float, height: float) -> Html:
    return fill(
        '<rect class="$css" x="$x" y="$y" width="$width" height="$height"/>',
        css=css, x=round(x, 1), y=round(y, 1), width=round(width, 1), height=round(height, 1),
    )  # fmt: skip
