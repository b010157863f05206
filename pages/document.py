"""A whole page from its parts: one file that asks the network for nothing, whatever is in it."""

import base64
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pages.markup import Html, fill, join

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Section:
    title: str
    body: Html

    @property
    def anchor(self) -> str:
        return "-".join("".join(c if c.isalnum() else " " for c in self.title.lower()).split())


def document(
    title: str,
    lead: Html,
    sections: Sequence[Section],
    *,
    style: str = "",
    scripts: Sequence[str] = (),
    data: str = "",
    policy: str = "",
) -> str:
    """`style` comes after the one that all pages have. `scripts` run in their order, before the
    one that sorts tables; the page's policy allows these and no other. `data` is markup that stands
    before them: blocks that they read. `policy` is what the page may do beyond being looked at, as
    further directives of its Content-Security-Policy."""
    every = [*scripts, (HERE / "sortable.js").read_text(encoding="utf-8")]
    made = fill(
        (HERE / "page.html").read_text(encoding="utf-8"),
        title=title,
        policy=Html(f"; {policy}" if policy else ""),
        digests=Html(" ".join(f"'sha256-{_digest(script)}'" for script in every)),
        style=Html((HERE / "page.css").read_text(encoding="utf-8") + style),
        data=Html(data),
        scripts=Html("\n".join(f"<script>{script}</script>" for script in every)),
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


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def write(texts: dict[Path, str]) -> None:
    """Files that belong together: they take their names when all are on the disk, the last first;
    where that one cannot, none has changed."""
    partials = {path.with_name(f".{path.name}.partial"): path for path in texts}
    try:
        for partial, path in partials.items():
            with partial.open("w", encoding="utf-8") as file:
                file.write(texts[path])
                file.flush()
                os.fsync(file.fileno())
        for partial, path in reversed(partials.items()):
            partial.replace(path)
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)
