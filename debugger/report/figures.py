"""Interactive plots of a page: plain data for plotly.js, which is embedded once.

Colours are names of the style sheet (`--one`), put in where the page is drawn, so that one page
serves light, dark and paper. Arrays travel as base64 of single precision: NaN is a gap.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pages.markup import Html, fill, join, shown

HERE = Path(__file__).parent
MOST_POINTS = 800
"""Of one line on the page; longer series are shown as the mean, lowest and highest of so many
parts."""
MOST_TICKS = 26
LONGEST_NAME = 26
"""Characters of a name beside a plot; the whole name stands in the table or under the pointer."""

LONGEST_POINTED = 300
"""Of the same name under the pointer."""

Traces = list[dict[str, Any]]


@dataclass(frozen=True)
class Figure:
    title: str
    told: str
    """What is seen, for those who do not see it, and as the caption."""
    traces: Traces
    layout: dict[str, Any] = field(default_factory=dict)
    height: int = 300
    """Pixels."""


@dataclass
class Figures:
    """The plots of one page, in their order."""

    drawn: list[Figure] = field(default_factory=list)

    def add(self, figure: Figure) -> Html:
        """The place of a plot; empty without a trace."""
        return self.choice([("", figure)]) if figure.traces else Html("")

    def choice(self, figures: Sequence[tuple[str, Figure]], label: str = "") -> Html:
        """One place for several, of which a menu shows one."""
        if not figures:
            return Html("")
        first = len(self.drawn)
        self.drawn += [figure for _, figure in figures]
        options = join(
            fill(
                '<option value="$at" data-title="$title" data-told="$told">$name</option>',
                at=first + at, title=figure.title, told=figure.told, name=name,
            )
            for at, (name, figure) in enumerate(figures)
        )  # fmt: skip
        menu = fill('<p class="menu"><label>$label <select>$options</select></label></p>',
                    label=label, options=options) if len(figures) > 1 else Html("")  # fmt: skip
        shown_first = figures[0][1]
        return fill(
            '<figure class="plotted"><figcaption><b>$title</b><span>$told</span></figcaption>$menu'
            '<div class="plot" data-plot="$at" style="height:${height}px" role="group" '
            'aria-label="$title. $told"></div></figure>',
            title=shown_first.title, told=shown_first.told, menu=menu, at=first,
            height=shown_first.height,
        )  # fmt: skip

    def data(self) -> str:
        """The block that the page's script reads; no text in it can end it."""
        every = [
            {"data": each.traces, "layout": each.layout, "height": each.height}
            for each in self.drawn
        ]
        text = json.dumps(every, separators=(",", ":"), allow_nan=False)
        text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
        return f'<script type="application/json" id="plots">{text}</script>'


def scripts() -> list[str]:
    """Plotly's, whole as it is published, and ours."""
    from plotly.offline import get_plotlyjs

    # "</script" in a string of it would end the block
    library = get_plotlyjs().replace("</script", "<\\/script")
    return [library, (HERE / "report.js").read_text(encoding="utf-8")]


def array(values: Any) -> dict[str, str]:
    """What plotly.js reads as a typed array, of one or two dimensions."""
    made = np.ascontiguousarray(values, dtype="<f4")
    spec = {"dtype": "f4", "bdata": base64.b64encode(made.tobytes()).decode()}
    if made.ndim == 2:
        spec["shape"] = f"{made.shape[0]}, {made.shape[1]}"
    return spec


def text(name: str, longest: int = LONGEST_NAME) -> str:
    """A name as plotly.js shows it: it knows some markup, and long ones keep both their ends."""
    name = shown(name)
    if len(name) > longest:
        head = longest // 3
        name = f"{name[:head]}…{name[head + 1 - longest :]}"
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def line(
    name: str, x: NDArray[Any], y: NDArray[Any], colour: str, *, few: bool = False, **more: Any
) -> dict[str, Any]:
    """`few` marks every point, as a line of one point shows nothing."""
    return {
        "type": "scatter",
        "mode": "lines+markers" if few or len(x) == 1 else "lines",
        "name": text(name),
        "x": array(x),
        "y": array(y),
        "line": {"color": colour, "width": 2},
        **more,
    }


def band(x: NDArray[Any], low: NDArray[Any], high: NDArray[Any], colour: str) -> Traces:
    """The range around a line of means."""
    edge = {"type": "scatter", "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip",
            "showlegend": False, "x": array(x)}  # fmt: skip
    return [
        {**edge, "y": array(low)},
        {**edge, "y": array(high), "fill": "tonexty", "fillcolor": colour},
    ]


def names_axis(names: Sequence[str]) -> dict[str, Any]:
    """An axis of many names, of which as many are written as there is room for; a heat map's rows
    are `rows(names)`."""
    every = max(1, -(-len(names) // MOST_TICKS))
    written = names[::every]
    return {
        "type": "category",
        "tickvals": rows(written),
        "ticktext": [text(name) for name in written],
    }


def rows(names: Sequence[str]) -> list[str]:
    return [text(name, LONGEST_POINTED) for name in names]


def marks(places: Sequence[tuple[float, str]]) -> dict[str, Any]:
    """Lines down a plot, such as where epochs begin, each with a word at its top."""
    return {
        "shapes": [
            {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "layer": "below",
             "line": {"color": "--mark", "width": 1, "dash": "dot"}}
            for x, _ in places
        ],
        "annotations": [
            {"x": x, "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False,
             "text": text(word), "font": {"size": 10}}
            for x, word in places if word
        ],
    }  # fmt: skip
