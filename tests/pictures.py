"""The guide's pictures of our pages, taken anew.

make demo tune notebook && python -m tests.pictures
"""

import io
from pathlib import Path

from PIL import Image

from tests import browser
from tests.tree import ROOT

FOLDER = ROOT / "docs" / "pictures"
PAGES = {
    "report": (ROOT / "demo" / "output" / "data" / "report.html", 1100),
    "diagnosis": (ROOT / "notebook/training/output/data/profiler-report.html", 900),
    "tuning": (ROOT / "tuning" / "output" / "tuning" / "tuning.html", 900),
}
"""By name: the page of made-up photos, and how many pixels of it are shown."""
WIDTH = 1100
QUALITY = 80


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with browser.running() as chromium:
        for name, (page, height) in PAGES.items():
            take(chromium, page, height, FOLDER / f"{name}.webp")


def take(chromium: browser.Browser, page: Path, height: int, to: Path) -> None:
    seen = browser.look(chromium, page, WIDTH, height)
    seen.page.wait_for_timeout(1000)  # plots are drawn after the page is loaded
    with Image.open(io.BytesIO(seen.page.screenshot())) as picture:
        picture.save(to, quality=QUALITY)
    print(f"{to.relative_to(ROOT)}: {to.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
