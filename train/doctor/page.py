"""The doctor's findings for people: a few pictures, and one page of HTML without a network."""

import base64
import io
from html import escape

from PIL import Image

from artifact.preprocess import PhotoError, open_photo
from train.doctor.findings import KINDS, Findings
from train.index import Index

SIDE = 112
"""Pixels of a thumbnail's longer side."""
QUALITY = 75
MOST_THUMBNAILS = 60
MOST_FINDINGS_PER_KIND = 8
MOST_PER_FINDING = 4
MOST_BYTES = 500_000
MOST_ROWS = 200

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
table { border-collapse: collapse } td, th { padding: .2rem .8rem .2rem 0; text-align: left;
vertical-align: top; overflow-wrap: anywhere } .photos { display: flex; flex-wrap: wrap;
gap: 1rem } figure { margin: 0; width: 9rem; font-size: 80%; overflow-wrap: anywhere }
:root { color-scheme: light dark }
"""


def thumbnails(findings: Findings, indexes: dict[str, Index]) -> list[tuple[str, bytes]]:
    """Caption and JPEG of photos that findings are about, the worst kinds first. `indexes` are the
    splits as they were looked at: findings name positions in them, and beyond their end in the
    shards of other hosts, whose photos are not here."""
    made: list[tuple[str, bytes]] = []
    room = MOST_BYTES
    for kind in KINDS:
        for finding in findings.of(kind)[:MOST_FINDINGS_PER_KIND]:
            for name, (split, position) in list(zip(finding.names, finding.places, strict=False))[
                :MOST_PER_FINDING
            ]:
                index = indexes[split]
                picture = _thumbnail(index, position) if position < len(index) else None
                if picture is None or len(picture) > room or len(made) == MOST_THUMBNAILS:
                    continue
                made.append((f"{kind}: {name}: {finding.reason}", picture))
                room -= len(picture)
    return made


def _thumbnail(index: Index, position: int) -> bytes | None:
    try:
        image = open_photo(index.read(position), SIDE)
    except (PhotoError, OSError):  # what cannot be decoded cannot be shown
        return None
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def section(findings: Findings) -> str:
    """HTML to put into a page: what was found, pictures of it, and the first findings by name."""
    if not findings.found:
        return f"<p>{escape(_looked(findings))} Nothing was found.</p>"
    kinds = "".join(
        f"<tr><td>{KINDS[kind][0]}</td><td>{escape(kind)}</td><td>{findings.counts[kind]:,}</td>"
        f"<td>{escape(KINDS[kind][1])}</td></tr>"
        for kind in KINDS
        if findings.counts[kind]
    )
    return (
        f"<p>{escape(_looked(findings))}</p>"
        f"<div class=wide><table><tr><th>severity<th>kind<th>found<th>what it is</tr>{kinds}"
        f"</table></div><div class=photos>{_figures(findings)}</div>"
        "<div class=wide><table><tr><th>kind<th>split<th>files or classes<th>why</tr>"
        f"{_rows(findings)}</table></div>"
    )


def _looked(findings: Findings) -> str:
    parts = [f"{findings.looked[split]:,} of {photos:,} {split} photos looked at"
             for split, photos in findings.photos.items()]  # fmt: skip
    out = [f"{count:,} left out of {split}" for split, count in findings.left_out.items() if count]
    return "; ".join(parts + out) + f"; data_policy={findings.policy}."


def _figures(findings: Findings) -> str:
    return "".join(
        f'<figure><img alt="" src="data:image/jpeg;base64,{base64.b64encode(picture).decode()}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, picture in findings.thumbnails
    )


def _rows(findings: Findings) -> str:
    ordered = [finding for kind in KINDS for finding in findings.of(kind)]
    rows = "".join(
        f"<tr><td>{escape(finding.kind)}</td><td>{escape(finding.split)}</td>"
        f"<td>{'<br>'.join(map(escape, finding.names))}</td><td>{escape(finding.reason)}</td></tr>"
        for finding in ordered[:MOST_ROWS]
    )
    more = sum(findings.counts.values()) - MOST_ROWS
    return rows + (f"<tr><td colspan=4>and {more:,} more</td></tr>" if more > 0 else "")


def page(findings: Findings) -> str:
    """`section` as a page of its own: a job that ends before its report has this one."""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; "
        "img-src data:; style-src 'unsafe-inline'\">"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>Photos</title><style>{STYLE}</style>"
        f"<h1>What is wrong with the photos</h1>{section(findings)}</html>\n"
    )
