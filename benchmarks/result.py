"""How a benchmark ends: a table for people, then one JSON object as the last line."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SHOWN = (
    "date",
    "command",
    "revision",
    "cpu",
    "cores",
    "load_average_before",
    "environment",
    "image",
)
"""Of the setting, above the table."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, metavar="FILE.json", help="keep the result here, and its table as .txt"
    )


def give(
    result: dict[str, Any],
    rows: Sequence[Sequence[str]],
    out: Path | None,
    more: Sequence[str] = (),
) -> None:
    """`rows` starts with the titles; `more` are lines below it. `result` has a `setting`."""
    setting = result["setting"]
    lines = [f"{name}: {setting[name]}" for name in SHOWN if setting.get(name) not in (None, {})]
    lines += ["versions: " + ", ".join(f"{k} {v}" for k, v in setting["versions"].items()), ""]
    lines += [*table(rows), *more]
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        out.with_suffix(".txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    print(json.dumps(result), flush=True)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, the others, numbers, to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
