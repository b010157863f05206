"""The guide: the README and its pages; their tables, made from the code, and their commands.

    python -m tests.readme      writes the tables anew

Tests hold that the guide has exactly these tables, that every command in it is run, and that its
links lead somewhere.
"""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from artifact.preprocess import FORMATS
from container.failure import CLASSES
from container.opt_ml import BASE_DIR
from container.settings import Settings
from debugger.hook import cost
from debugger.report import figures, machine, tensors
from debugger.rules.asked import MODULES, class_of
from serve import accept, payload
from tests.gallery import cases as planted
from train.hyperparameters import FIELDS
from train.schema import AUTO
from train.sources.formats import FORMATS as SOURCES
from train.sources.layout import LIST, OTHER_CHANNELS, SPLITS
from tune.settings import Settings as TuningSettings

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "debugger" / "report" / "schema.json"
JSON = {"string": "text", "array": "list", "integer": "number"}
"""What types of JSON are called in the guide; the others have their own names."""
PAGES = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in (
    "train", "tune", "diagnose", "serve", "ship", "contract", "compare",
))]  # fmt: skip
"""In the order in which they are read, and their commands run."""

BODIES = {
    "image/jpeg": "one photo; among the photo types the type is a hint and the bytes decide",
    "image/png": "the same",
    "image/webp": "the same",
    "image/bmp": "the same",
    "image/tiff": "the same",
    "application/x-image": "the same",
    "application/octet-stream": "one photo, or an `.npy` file by its first bytes",
    "application/x-www-form-urlencoded": "the same: what `curl --data-binary` sends by itself",
    "application/x-npy": "float N×3×H×W, normalised as in training, any H×W; or uint8 N×H×W×3 "
    "pixels; N may be left out",
    "application/json": '`{"image": X}` or `{"instances": [X, {"image": X, "id": ...}, ...]}`; '
    "X is a photo in base64, a data URI, or nested 3×H×W lists of normalised numbers",
    "application/jsonlines": "one such X or object a line",
    "multipart/form-data": "one photo or `.npy` file a part",
}
ANSWERS = {
    accept.JSON: '`{"predictions": [{"label", "index", "probability", "top_k": [...]}, ...]}` in '
    'input order; an item that failed is `{"error", "index"}`',
    accept.VERBOSE: '`{"probabilities", "labels", "predicted_label"}`, as built-in algorithms do',
    accept.JSON_LINES: '`{"prediction": [all probabilities], "label": ...}` a line',
    accept.CSV: "all probabilities, a line an image; `nan` where an item failed",
    accept.NPY: "images × classes, float32; `nan` where an item failed",
}


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def legal(kind: Any, limits: Any) -> str:
    return f"{_legal(kind, limits)}{', `auto`' if limits.get('auto') else ''}"


def _legal(kind: Any, limits: Any) -> str:
    if limits.get("patterns"):
        return "list of regular expressions"
    if limits["choices"]:
        many = "list of " if kind == list[str] else ""
        return many + ", ".join(f"`{choice}`" for choice in limits["choices"])
    if limits.get("forms"):
        return str(limits["forms"])
    if kind is bool:
        return "`true`, `false`"
    if limits.get("above") is not None:
        return f"above {limits['above']:g} to {limits['high']:g}"
    if limits["low"] is not None:
        many = "list of " if kind == list[int] else ""
        return f"{many}{limits['low']:,} to {limits['high']:,}"
    return "a name"


def plain(default: Any) -> str:
    if default == "":
        return "none"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def hyperparameters() -> str:
    rows = []
    for name, item in FIELDS.items():
        default = item.default_factory() if item.default is dataclasses.MISSING else item.default
        if item.metadata["auto"] and default == AUTO:
            default = "auto"
        names = ", ".join(f"`{each}`" for each in (name, *item.metadata["aliases"]))
        meaning, why = item.metadata["meaning"], item.metadata["why"]
        rows.append((names, plain(default), legal(item.type, item.metadata), meaning, why))
    return table(("name", "default", "values", "meaning", "why this default"), rows)


def channels() -> str:
    meanings = {
        "train": "photos to learn from, in one of the formats below; or of all splits",
        "list": "the list of a channel's photos, or their classes' names, if it lies elsewhere",
        "validation": "photos that choose the best epoch; without it 20 % of each train class",
        "test": "photos for the final evaluation; without it the validation photos",
        "pretrained": "weights to start from: one `.pth`, one `.safetensors`, or an artifact",
        "model": "an earlier job's `model.tar.gz`, or what is in it: training goes on from there",
    }
    rows = [(", ".join(f"`{name}`" for name in names), meanings[split])
            for split, names in SPLITS.items()]  # fmt: skip
    rows += [(", ".join(f"`{split}{LIST}`" for split in SPLITS), meanings["list"])]
    rows += [(f"`{name}`", meanings[name]) for name in OTHER_CHANNELS if name in meanings]
    return table(("channel", "holds"), rows)


def sources() -> str:
    rows = [(each.name, each.holds, ", ".join(f"`{one}`" for one in each.content_types))
            for each in SOURCES]  # fmt: skip
    return table(("format", "the channel holds", "ContentType, where files leave it open"), rows)


def settings() -> str:
    base = (f"`{BASE_DIR}`", "`/opt/ml`", "a folder", "Where the platform's folder tree lies.")
    return _settings(Settings, [base])


def tuning() -> str:
    return _settings(TuningSettings, [])


def _settings(kind: Any, rows: list[tuple[str, ...]]) -> str:
    for item in dataclasses.fields(kind):
        names = ", ".join(f"`{each}`" for each in item.metadata["names"])
        values = legal(item.type, item.metadata)
        rows.append((names, plain(item.default), values, item.metadata["meaning"]))
    return table(("environment variable", "default", "values", "meaning"), rows)


def content_types() -> str:
    return table(
        ("Content-Type", "body"), [(f"`{name}`", BODIES[name]) for name in payload.ACCEPTED]
    )


def accept_types() -> str:
    return table(("Accept", "answer"), [(f"`{name}`", ANSWERS[name]) for name in accept.OFFERED])


def failures() -> str:
    rows = [(f"`{kind.name}`", kind.meaning, kind.fix) for kind in CLASSES]
    return table(("class", "what happened", "what to do"), rows)


def debugger_json() -> str:
    """The table of the module's own description."""
    lines = (cost.__doc__ or "").splitlines()
    return "\n".join(line for line in lines if line.startswith("|"))


def formats() -> str:
    return ", ".join("WebP" if name == "WEBP" else name for name in FORMATS)


def rules() -> str:
    rows = []
    for name in MODULES:
        made: Any = class_of(name)
        given = (f"`{key}={_default(each.default)}`{' *' if each.ours else ''}"
                 for key, each in made.parameters.items())  # fmt: skip
        words = [" and ".join(made.saves), ", ".join(given) or "none"]
        rows.append((f"`{name}`", made.summary, *(word.replace("|", "&#124;") for word in words)))
    return table(("rule", "fires when", "needs saved", "parameters and defaults"), rows)


def _default(value: Any) -> str:
    return "" if value == "" else str(value)


def diagnosis() -> str:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return _described(schema["properties"])


def diagnosis_limits() -> str:
    rows = [
        ("points of a line", f"{figures.MOST_POINTS}", "mean, lowest and highest of as many parts"),
        ("layers × steps of the gradients", f"{tensors.MOST_LAYERS} × {tensors.MOST_STEPS}",
         "evenly spread, the first and the last among them"),
        ("weights and activations", f"{tensors.MOST_DISTRIBUTIONS} tensors each, "
         f"{tensors.MOST_COLUMNS} steps, {tensors.MOST_VALUES:,} values of a tensor", "the same"),
        ("hosts drawn", f"{machine.MOST_HOSTS}", "in the table and in the JSON"),
        ("time for reading tensors", f"{tensors.MOST_SECONDS:.0f} seconds",
         "steps that cover the whole run, less densely"),
    ]  # fmt: skip
    return table(("what", "at most", "beyond it"), rows)


def verdicts() -> str:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return _described(schema["$defs"]["verdict"]["properties"])


def _described(properties: dict[str, Any]) -> str:
    rows = []
    for name, item in properties.items():
        kinds = item.get("type", "text" if "enum" in item else "number")
        kinds = [kinds] if isinstance(kinds, str) else kinds
        kind = " or ".join(JSON.get(each, each) for each in kinds)
        choices = ", ".join(f"`{each}`" for each in item.get("enum", ()))
        rows.append((f"`{name}`", kind, item["description"] + (f": {choices}" if choices else "")))
    return table(("field", "is", "holds"), rows)


TABLES = {
    "rules": rules,
    "planted bugs": planted.table,
    "hyperparameters": hyperparameters,
    "channels": channels,
    "sources": sources,
    "content types": content_types,
    "accept": accept_types,
    "settings": settings,
    "tuning settings": tuning,
    "failure classes": failures,
    "formats": formats,
    "diagnosis limits": diagnosis_limits,
    "diagnosis report": diagnosis,
    "verdict": verdicts,
    "debugger.json": debugger_json,
}


def pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)


def text() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def commands() -> list[str]:
    """Every line of the guide's bash blocks that is a command."""
    blocks = re.findall(r"```bash\n(.*?)```", text(), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    stripped = (re.sub(r"\s+#.*$", "", line).strip() for line in lines)
    return [" ".join(line.split()) for line in stripped if line and not line.startswith("#")]


def links() -> list[tuple[Path, str, str]]:
    """Page, words and target of every link."""
    return [
        (page, words, target)
        for page in PAGES
        for words, target in re.findall(
            r"\[([^\]]+)\]\(([^)]+)\)", page.read_text(encoding="utf-8")
        )
    ]


def write() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name, make in TABLES.items():
            made = make()
            text = pattern(name).sub(lambda found, made=made: f"{found[1]}{made}\n{found[2]}", text)
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
