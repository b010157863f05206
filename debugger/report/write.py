"""Both files of a diagnosis, into a folder."""

import json
from pathlib import Path

from debugger.report.material import Material
from debugger.report.page import page
from debugger.report.record import record
from pages import document

PAGE = "profiler-report.html"
RECORD = "profiler-report.json"


def write(folder: Path, material: Material) -> Path:
    """Whole or not at all; returns the page. Its folder is made where it is missing."""
    text = json.dumps(record(material), indent=1, ensure_ascii=True, allow_nan=False)
    folder.mkdir(parents=True, exist_ok=True)
    document.write({folder / RECORD: text + "\n", folder / PAGE: page(material)})
    return folder / PAGE
