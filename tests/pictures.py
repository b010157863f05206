"""The guide's pictures of our pages, taken anew.

make demo tune notebook && python -m tests.pictures
"""

import io
import tempfile
from pathlib import Path

from PIL import Image

from tests import browser, serving
from tests.tree import ROOT

FOLDER = ROOT / "docs" / "pictures"
DEMO = ROOT / "demo"
PAGES = {
    "report": (DEMO / "output" / "data" / "report.html", 1100),
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
            keep(browser.look(chromium, page, WIDTH, height), FOLDER / f"{name}.webp")
        with (
            tempfile.NamedTemporaryFile() as log,
            serving.running(DEMO, Path(log.name), PAGE="true") as server,
        ):
            ask(chromium, server.url)


def ask(chromium: browser.Browser, url: str) -> None:
    """The server's own page, over photos of the demo's."""
    photos = [next((DEMO / "photos").rglob(f"{name}-0003.*")) for name in ("dots", "stripes")]
    seen = browser.visit(chromium, url, WIDTH, 900)
    seen.page.get_by_label("Heat map").check()
    for _ in range(2):  # the first map takes longer
        seen.page.get_by_role("button", name="Clear").click()
        seen.page.get_by_label("Choose photos").set_input_files(photos)
        seen.page.locator("canvas").nth(len(photos) - 1).wait_for()
    keep(seen, FOLDER / "page.webp")


def keep(seen: browser.Seen, to: Path) -> None:
    seen.page.wait_for_timeout(1000)  # plots are drawn after the page is loaded
    with Image.open(io.BytesIO(seen.page.screenshot())) as picture:
        picture.save(to, quality=QUALITY)
    print(f"{to.relative_to(ROOT)}: {to.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
