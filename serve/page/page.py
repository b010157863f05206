"""The page: photos in, labels as bars out, the same from code, and the model's card.

One file that loads nothing; its policy lets it ask this server and no other. What is always the
same is read once.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pages.document import Section, document
from pages.markup import Html, fill, join, paragraph, percent, table
from serve import card as cards
from serve.card import Card
from serve.payload import PHOTOS

HERE = Path(__file__).parent
TITLE = "Image classification"
POLICY = "connect-src 'self'"
HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",  # the rest is in the page
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
CURL = "curl -H 'Content-Type: image/jpeg' --data-binary @photo.jpg \\\n  '{url}?top_k={top_k}'"
BOTO3 = """import boto3

answer = boto3.client("sagemaker-runtime").invoke_endpoint(
    EndpointName="NAME",{target}
    ContentType="image/jpeg",
    CustomAttributes="top_k={top_k}",
    Body=open("photo.jpg", "rb").read(),
)
print(answer["Body"].read().decode())"""


def of_many(models: Mapping[str, Path], wanted: str, top_k: int) -> str:
    """Of the model that is `wanted`, or of the first by name; `models` are those that are up, by
    name, and the folders of their artifacts. Raises ArtifactError."""
    if not models:
        told = "No model is loaded: POST /models with its model_name and url loads one."
        return document(TITLE, paragraph(told), [], policy=POLICY)
    name = wanted if wanted in models else min(models)
    path = f"/models/{quote(name, safe='')}/invoke"
    return html(cards.read(models[name]), path, top_k, name, sorted(models))


def html(card: Card, path: str, top_k: int, name: str = "", names: Sequence[str] = ()) -> str:
    """`path` is where its invocations go; `name` is the model's among the `names` of all."""
    top_k = min(top_k, len(card.labels))
    facts = {"path": path, "labels": len(card.labels), "seen": card.seen}
    # the block ends at the first "</script", whatever it stands in
    block = json.dumps(facts).replace("<", "\\u003c")
    return document(
        TITLE,
        join([_lead(card), _choice(name, names)]),
        [_photos(card, top_k), _code(path, top_k, bool(names)), _model(card)],
        style=_text("page.css"),
        scripts=[_text("page.js")],
        data=f'<script type="application/json" id="facts">{block}</script>',
        policy=POLICY,
    )


@lru_cache(maxsize=8)
def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _lead(card: Card) -> Html:
    return fill(
        '<p>$network, $count labels, sees $size pixels.</p><p id="state" class="state"></p>',
        network=card.network,
        count=f"{len(card.labels):,}",
        size=card.image_size,
    )


def _choice(name: str, names: Sequence[str]) -> Html:
    """Links to the pages of all models, this one's marked."""
    links = (
        fill('<a href="/?model=$query"$here>$name</a>', query=quote(each, safe=""), name=each,
             here=Html(' aria-current="page"' if each == name else ""))
        for each in names
    )  # fmt: skip
    return fill('<nav aria-label="models">$links</nav>', links=join(links)) if names else Html("")


def _photos(card: Card, top_k: int) -> Section:
    accept = ",".join(name for name in PHOTOS if name.startswith("image/"))
    body = fill(_text("photos.html"), accept=accept, labels=len(card.labels), top_k=top_k)
    return Section("Photos", body)


def _code(path: str, top_k: int, many: bool) -> Section:
    """With this machine's address, until the script puts in the one that the page came from."""
    url = f"http://localhost:8080{path}"
    made = []
    boto3 = BOTO3.replace("{target}", '\n    TargetModel="MODEL.tar.gz",' if many else "")
    for name, code in (("curl", CURL), ("Python, behind an endpoint", boto3)):
        example = code.replace("{url}", url).replace("{top_k}", str(top_k))
        made.append(fill(
            '<h3>$name</h3><div class="snippet"><pre tabindex="0" aria-label="$name" '
            'data-code="$code">$example</pre><button type="button" aria-label="Copy $name">Copy'
            "</button></div>",
            name=name, code=code, example=example,
        ))  # fmt: skip
    return Section("The same from code", join(made))


def _model(card: Card) -> Section:
    parts = [_cards(card)]
    facts = {
        "Metrics": card.metrics,
        "Compiled engine": card.compiled,
        "Training": card.training,
    }
    for title, values in facts.items():
        rows = list(_rows(values))
        if rows:
            parts.append(_folded(title, table(["", "value"], rows)))
    parts += [_engines(card), _labels(card)]
    return Section("Model", join(parts))


def _cards(card: Card) -> Html:
    split = next((name for name in ("test", "validation") if name in card.metrics), "")
    found = card.metrics.get(split)
    accuracy = found.get("top1_accuracy") if isinstance(found, dict) else None
    weights = fill("<small>$hash…</small>", hash=card.weights)
    told = {"network": card.network, "labels": f"{len(card.labels):,}", "weights": weights}
    if isinstance(accuracy, int | float):
        told = {f"right on {split} photos": percent(accuracy), **told}
    told |= _compiled(card.compiled)
    return fill(
        '<dl class="cards">$cards</dl>',
        cards=join(
            fill("<div><dt>$name</dt><dd>$value</dd></div>", name=name, value=value)
            for name, value in told.items()
        ),
    )


def _compiled(compiled: Mapping[str, Any]) -> dict[str, str | Html]:
    """The compiled engine's precision, and how often it was right beside float32 where seen."""
    if not compiled:
        return {}
    precision = str(compiled.get("precision", ""))
    accuracies = compiled.get("accuracies")
    seen = accuracies if isinstance(accuracies, dict) else {}
    pair = [seen.get(name) for name in (precision, "float32")]
    if precision == "float32" or not all(isinstance(each, int | float) for each in pair):
        return {"compiled engine": precision}
    rates = f"{percent(pair[0])} right, float32 {percent(pair[1])}"
    return {"compiled engine": fill("$name<small>$rates</small>", name=precision, rates=rates)}


def _rows(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, object]]:
    """One for each number or word, whatever the training job wrote; lists are too long to read."""
    for key, value in values.items():
        name = f"{above}{key}".replace("_", " ")
        if isinstance(value, dict):
            yield from _rows(value, f"{name}: ")
        elif isinstance(value, bool):
            yield name, "yes" if value else "no"
        elif isinstance(value, int | float | str) and value != "":
            yield name, value


def _engines(card: Card) -> Html:
    if not card.engines:
        return Html("")
    rows = [(f"{name}: {what}", value) for name, facts in card.engines.items()
            if isinstance(facts, dict) for what, value in _rows(facts)]  # fmt: skip
    what = "How far each engine may be, and was, from float32 at export."
    return _folded("Engines, checked", join([paragraph(what, "soft"), table(["", "value"], rows)]))


def _labels(card: Card) -> Html:
    rows = join(fill("<li>$label</li>", label=label) for label in card.labels)
    names = fill('<ol class="labels" start="0">$rows</ol>', rows=rows)
    return _folded(f"All {len(card.labels):,} labels", names)


def _folded(title: str, body: Html) -> Html:
    return fill("<details><summary>$title</summary>$body</details>", title=title, body=body)
