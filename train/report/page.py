"""HTML from parts. What is not markup already is escaped where it is put in.

Names of classes and files are other people's text: they may hold markup, control characters or
bytes that are no characters at all.
"""

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from train.index import shown

HERE = Path(__file__).parent
NUMBER = re.compile(r"[-+]?[\d.,]+(e-?\d+)?%?|–")


class Html(str):
    """Markup, made by this module's functions."""


@dataclass(frozen=True)
class Section:
    title: str
    body: Html

    @property
    def anchor(self) -> str:
        return "-".join("".join(c if c.isalnum() else " " for c in self.title.lower()).split())


def escape(value: object) -> Html:
    if isinstance(value, Html):
        return value
    return Html(html.escape("\n".join(map(shown, str(value).split("\n")))))


def fill(template: str, **values: object) -> Html:
    """The template with every `$name` replaced by its value, escaped unless it is Html."""
    return Html(Template(template).substitute({key: escape(each) for key, each in values.items()}))


def join(parts: Iterable[Html]) -> Html:
    return Html("".join(parts))


def table(
    head: Sequence[str], rows: Iterable[Sequence[object]], *, css: str = "", caption: str = ""
) -> Html:
    """Columns of numbers stand to the right; `css` may be `sortable`."""
    cells = [[_text(value) for value in row] for row in rows]
    numbers = [
        bool(cells) and all(map(NUMBER.fullmatch, column)) for column in zip(*cells, strict=True)
    ]
    kinds = ["n" if each else "" for each in numbers] or [""] * len(head)
    return fill(
        '<div class="wide"><table class="$css">$caption<thead><tr>$head</tr></thead>'
        "<tbody>$rows</tbody></table></div>",
        css=css,
        caption=fill("<caption>$text</caption>", text=caption) if caption else Html(""),
        head=_cells('<th scope="col" class="$kind">$text</th>', head, kinds),
        rows=join(
            fill("<tr>$cells</tr>", cells=_cells('<td class="$kind">$text</td>', row, kinds))
            for row in cells
        ),
    )


def _cells(template: str, texts: Sequence[str], kinds: Sequence[str]) -> Html:
    pairs = zip(texts, kinds, strict=True)
    return join(fill(template, text=text, kind=kind) for text, kind in pairs)


def _text(value: object) -> str:
    if value is None:
        return "–"
    return number(value) if isinstance(value, int | float) else str(value)


def number(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if abs(value) >= 0.001 or value == 0 else f"{value:.2e}"


def percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}%}"


def paragraph(text: object, css: str = "") -> Html:
    return fill('<p class="$css">$text</p>', text=text, css=css)


def document(title: str, lead: Html, sections: Sequence[Section]) -> str:
    """One file that asks the network for nothing: its policy forbids it, whatever is in it."""
    script = (HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    made = fill(
        (HERE / "page.html").read_text(encoding="utf-8"),
        title=title,
        digest=digest,
        style=Html((HERE / "page.css").read_text(encoding="utf-8")),
        script=Html(script),
        lead=lead,
        links=join(
            fill('<a href="#$anchor">$title</a>', anchor=each.anchor, title=each.title)
            for each in sections
        ),
        sections=join(
            fill('<section id="$anchor"><h2>$title</h2>$body</section>',
                 anchor=each.anchor, title=each.title, body=each.body)
            for each in sections
        ),
    )  # fmt: skip
    return str(made)
