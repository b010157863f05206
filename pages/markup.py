"""HTML from parts. What is not markup already is escaped where it is put in.

Names of classes and files are other people's text: they may hold markup, control characters or
bytes that are no characters at all.
"""

import html
import re
from collections.abc import Iterable, Sequence
from string import Template

NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?%?|–")


class Html(str):
    """Markup, made by this module's functions."""


def shown(name: str) -> str:
    """A name for the log, for JSON and for pages: line ends, control characters and bytes that are
    no UTF-8, all of which a file system allows, as escapes."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


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
