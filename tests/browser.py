"""A real Chromium over a page of ours, a file or a server's; what it saw is kept."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]


@dataclass
class Seen:
    page: Page
    errors: list[str] = field(default_factory=list)
    """Of the console and of scripts."""
    requests: list[str] = field(default_factory=list)
    """Everything asked for but the page itself, its own server and data inside it."""

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")

    def broken_images(self) -> list[str]:
        return self.page.evaluate(
            "[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.alt)"
        )


def chromium() -> str:
    """Its path; without one the test is left out, or fails where REQUIRE_CHROMIUM asks for it."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    told = "no Chromium on PATH: tests/install_chromium.sh installs Debian's"
    if os.environ.get("REQUIRE_CHROMIUM"):
        pytest.fail(told)
    pytest.skip(told)


@contextmanager
def running() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def look(
    browser: Browser, file: Path, width: int = 1280, height: int = 900, scheme: str = "light"
) -> Seen:
    return visit(browser, file.resolve().as_uri(), width, height, scheme)


def visit(
    browser: Browser, own: str, width: int = 1280, height: int = 900, scheme: str = "light"
) -> Seen:
    """`own` is the page's address; what else begins with it is its server's. The pages before it
    are closed: each of them is a process, and dozens leave the next one no time to draw."""
    for earlier in browser.contexts:
        earlier.close()
    page = browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        device_scale_factor=2 if width < 600 else 1,
        has_touch=width < 600,
    )
    seen = Seen(page)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("console", lambda message: seen.errors.append(message.text))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith((own, "data:", "blob:"))
            else seen.requests.append(request.url)
        ),
    )  # fmt: skip
    page.goto(own, wait_until="load")
    return seen
