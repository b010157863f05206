"""All files of the report, into the output folder."""

import json
from collections.abc import Sequence
from pathlib import Path

from pages import document
from pages.document import Section
from train.report import engine, mistakes, sections, several
from train.report.photos import Thumbnails
from train.report.results import Results

NAME = "report.html"


def write(folder: Path, results: Results, findings: Sequence[Section] = ()) -> None:
    """`findings` are sections from elsewhere, put after the data's own."""
    write_evaluation(folder / "evaluation.json", results)
    write_page(folder / NAME, results, findings)
    from train.report import pictures  # here: matplotlib takes long to import

    pictures.write(folder, results)


def write_evaluation(path: Path, results: Results) -> None:
    """`evaluation.json`: accuracy, per-class precision and recall, and the confusion matrix, whose
    rows are true classes and whose columns are predicted ones, both in the order of `labels`."""
    evaluation, labels = results.evaluation, results.labels
    values = {
        "split": results.split,
        "images": evaluation.images,
        **evaluation.metrics(),
        "calibration": results.calibration and results.calibration.as_dict(),
        "per_class": evaluation.per_class(labels),
        "labels": labels,
        **({"thresholds": results.thresholds} if results.multi_label else {}),
    }
    text = json.dumps(values, indent=1, ensure_ascii=False)
    # a line per row: of a thousand classes a line per number would be a million lines
    rows = ",\n  ".join(json.dumps(row) for row in evaluation.confusion.tolist())
    text = text.removesuffix("\n}") + f',\n "confusion": [\n  {rows}\n ]\n}}\n'
    path.write_text(text, encoding="utf-8")


def write_page(path: Path, results: Results, findings: Sequence[Section] = ()) -> None:
    document.write({path: page(results, findings)})


def page(results: Results, findings: Sequence[Section] = ()) -> str:
    style = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    parts = contents(results, findings)
    return document.document(title(results), sections.lead(results), parts, style=style)


def title(results: Results) -> str:
    return results.job or "Training report"


def contents(results: Results, findings: Sequence[Section]) -> list[Section]:
    thumbnails = Thumbnails()
    every = [
        sections.training(results),
        *(_labels(results, thumbnails) if results.multi_label else _classes(results, thumbnails)),
        sections.calibration(results),
        sections.data(results, thumbnails),
        *findings,
        engine.engine(results),
        sections.job(results),
    ]
    return [section for section in every if section is not None]


# the photos that are looked at most are made first: they share a budget


def _classes(results: Results, thumbnails: Thumbnails) -> list[Section | None]:
    wrong = [mistakes.pairs(results, thumbnails), mistakes.certain(results, thumbnails)]
    return [sections.confusions(results), *wrong, sections.classes(results)]


def _labels(results: Results, thumbnails: Thumbnails) -> list[Section | None]:
    wrong = several.surprises(results, thumbnails)
    return [several.labels(results), wrong, several.together(results)]
