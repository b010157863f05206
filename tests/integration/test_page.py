"""The page at GET /, in a real Chromium, asking a real server."""

import base64
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser

from tests import browser, make, serving
from tests.browser import Seen
from tests.serving import Server

PHOTO = {"name": "first <b>.jpg", "mimeType": "image/jpeg", "buffer": make.photo()}
HOSTILE = "</script><img src=x onerror=alert(1)>"
LABELS = ["ants & bees", HOSTILE, "blue"]

GIVE = """([kind, name, type, data]) => {
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    const given = new DataTransfer();
    given.items.add(new File([bytes], name, {type}));
    const event = kind === "paste"
        ? new ClipboardEvent("paste", {clipboardData: given, bubbles: true})
        : new DragEvent("drop", {dataTransfer: given, bubbles: true, cancelable: true});
    document.body.dispatchEvent(event);
}"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.running() as running:
        yield running


@pytest.fixture(scope="module")
def paged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = tmp_path_factory.mktemp("paged")
    make.artifact(base / "model", LABELS)
    with serving.running(base, base / "log", PAGE="true", TOP_K="2") as ready:
        yield ready


@pytest.fixture
def seen(chromium: Browser, paged: Server) -> Iterator[Seen]:
    """The page, opened; whatever is done with it, it asks nobody else and has no error."""
    opened = browser.visit(chromium, paged.url)
    yield opened
    opened.page.close()
    assert opened.requests == []
    assert opened.errors == []


def test_a_chosen_photo_is_answered_as_the_server_answers_it(seen: Seen, paged: Server) -> None:
    seen.page.get_by_label("Choose photos").set_input_files([PHOTO])
    answer = seen.page.get_by_role("article", name="first <b>.jpg")
    rows = answer.get_by_role("listitem")
    rows.nth(1).wait_for()
    asked = paged.invoke(make.photo()).json()["predictions"][0]["top_k"]

    assert rows.count() == 2
    for at, top in enumerate(asked):
        label, share = rows.nth(at).locator("span").all_inner_texts()
        assert label == top["label"]
        assert float(share.removesuffix(" %")) == pytest.approx(top["probability"] * 100, abs=0.1)
    times = answer.get_by_text("there and back").inner_text()
    assert re.search(r"ms there and back, [\d.]+ of them in the server: read .*engine", times)
    assert asked[0]["label"] in seen.page.get_by_role("status").inner_text()
    assert seen.broken_images() == []


def test_a_heat_map_lies_over_the_square_that_the_network_saw(seen: Seen) -> None:
    wide = {**PHOTO, "name": "wide.jpg", "buffer": make.encode(make.picture(200, 100), "JPEG")}
    seen.page.get_by_label("Heat map").check()
    seen.page.get_by_label("Choose photos").set_input_files([wide])
    answer = seen.page.get_by_role("article", name="wide.jpg")
    label = answer.get_by_role("listitem").first.locator("span").first
    label.wait_for()
    drawn = answer.get_by_role("img", name=f"heat map for {label.inner_text()}")
    photo, map = answer.locator("img").bounding_box(), drawn.bounding_box()
    pixels = drawn.evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    )

    assert photo
    assert map
    assert map["width"] == pytest.approx(map["height"], abs=1)
    assert map["height"] == pytest.approx(photo["height"], abs=1)
    assert map["x"] - photo["x"] == pytest.approx((photo["width"] - map["width"]) / 2, abs=1)
    assert map["y"] == pytest.approx(photo["y"], abs=1)
    assert len(set(pixels[3::4])) > 1  # a map that is the same everywhere would tell nothing
    assert f"Red: what speaks for {label.inner_text()}" in answer.inner_text()


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_photo_may_be_dropped_or_pasted(seen: Seen, way: str) -> None:
    data = base64.b64encode(make.photo("PNG")).decode()
    seen.page.evaluate(GIVE, [way, "x.png", "image/png", data])
    seen.page.get_by_role("article", name="x.png").get_by_role("listitem").first.wait_for()

    assert seen.page.get_by_role("article").count() == 1


def test_many_photos_are_all_answered_and_cleared(seen: Seen) -> None:
    photos = [{**PHOTO, "name": f"{at}.jpg", "buffer": make.photo(seed=at)} for at in range(9)]
    seen.page.get_by_label("Labels shown").fill("1")
    seen.page.get_by_label("Choose photos").set_input_files(photos)
    seen.page.locator(".bars li").nth(8).wait_for()
    seen.page.get_by_role("button", name="Clear").click()

    assert seen.page.get_by_role("article").count() == 0


def test_what_the_server_refuses_is_told_in_its_words(chromium: Browser, paged: Server) -> None:
    """Not by `seen`: a browser writes every 4xx to its console."""
    seen = browser.visit(chromium, paged.url)
    file = {"name": "x.jpg", "mimeType": "image/jpeg", "buffer": b"no photo"}
    seen.page.get_by_label("Choose photos").set_input_files([file])
    answer = seen.page.get_by_role("article", name="x.jpg")
    answer.get_by_role("button", name="Ask again").wait_for()

    assert "HTTP 400: 8 bytes that start with" in answer.inner_text()
    assert "HTTP 400" in seen.page.get_by_role("status").inner_text()
    seen.page.close()


def test_the_commands_are_copied_as_they_stand_and_work(
    chromium: Browser, paged: Server, tmp_path: Path
) -> None:
    context = chromium.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(paged.url)
    page.get_by_label("Labels shown").fill("1")
    page.get_by_role("button", name="Copy curl").focus()
    page.keyboard.press("Enter")
    page.get_by_text("copied", exact=True).wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    python = page.get_by_label("Python, behind an endpoint", exact=True).inner_text()
    context.close()
    (tmp_path / "photo.jpg").write_bytes(make.photo())
    done = subprocess.run(
        shlex.split(copied.replace("\\\n", " ")), cwd=tmp_path, capture_output=True, check=True
    )

    assert paged.url in copied
    assert len(json.loads(done.stdout)["predictions"][0]["top_k"]) == 1
    assert 'CustomAttributes="top_k=1"' in python
    compile(python, "snippet", "exec")


def test_the_card_tells_what_is_served(seen: Seen) -> None:
    seen.page.get_by_text("ready: torch").wait_for()
    seen.page.get_by_text("All 3 labels").click()
    seen.page.get_by_text("Engines, checked").click()

    assert seen.page.locator(".labels li").all_inner_texts() == LABELS
    assert "small_cnn, 3 labels, sees 32 x 32 pixels." in seen.page.inner_text("header")
    assert seen.page.get_by_role("cell", name="torch-float32: tolerance").is_visible()


def test_everything_is_reached_by_keyboard_and_has_a_name(seen: Seen) -> None:
    reached = []
    for _ in range(12):
        seen.page.keyboard.press("Tab")
        reached.append(seen.page.evaluate(
            "(e => e.ariaLabel || e.labels?.[0]?.innerText || e.innerText)(document.activeElement)"
        ).strip())  # fmt: skip
    outline = seen.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")

    assert [name for name in reached if name.startswith("Choose photos")]
    for name in ("Labels shown", "Heat map", "Clear", "Copy curl", "Copy Python"):
        assert [each for each in reached if each.startswith(name)], (name, reached)
    assert outline == "solid"
    assert seen.page.locator("h1").count() == 1
    assert seen.page.evaluate("document.documentElement.lang") == "en"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone_in_both_colours(chromium: Browser, paged: Server, scheme: str) -> None:
    seen = browser.visit(chromium, paged.url, 390, 844, scheme)
    seen.page.get_by_label("Choose photos").set_input_files([PHOTO])
    seen.page.get_by_role("listitem").first.wait_for()
    paper = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
    level = sum(map(int, re.findall(r"\d+", paper))) / 3

    assert seen.overflow() <= 0
    assert level > 200 if scheme == "light" else level < 60
    seen.page.close()


def test_a_server_of_many_models_has_a_page_for_each(chromium: Browser, tmp_path: Path) -> None:
    labels = {"a.b": ["x1", "x2"], "second": ["y1", "y2"]}
    orders = []
    for at, (name, each) in enumerate(labels.items()):
        folder = make.artifact(tmp_path / "models" / str(at) / "model", each)
        orders.append({"model_name": name, "url": str(folder)})
    settings = {"PAGE": "true", "SAGEMAKER_MULTI_MODEL": "true"}
    with serving.running(tmp_path, tmp_path / "log", **settings) as server:
        empty = requests.get(server.url, timeout=5)
        for order in orders:
            assert requests.post(f"{server.url}/models", json=order, timeout=60).ok
        seen = browser.visit(chromium, server.url)
        seen.page.get_by_role("link", name="second").click()
        seen.page.get_by_label("Choose photos").set_input_files([PHOTO])
        shown = seen.page.locator(".bars span:first-child")
        shown.nth(1).wait_for()
        second = set(shown.all_inner_texts())
        seen.page.get_by_role("link", name="a.b").click()
        seen.page.get_by_label("Choose photos").set_input_files([PHOTO])
        shown.nth(1).wait_for()
        first = set(shown.all_inner_texts())
        python = seen.page.get_by_label("Python, behind an endpoint", exact=True).inner_text()
        seen.page.close()

    assert (empty.status_code, "No model is loaded" in empty.text) == (200, True)
    assert (first, second) == ({"x1", "x2"}, {"y1", "y2"})
    assert 'TargetModel="MODEL.tar.gz"' in python
    assert seen.errors == seen.requests == []


def test_its_policy_lets_nothing_else_in(paged: Server) -> None:
    answer = requests.get(paged.url, timeout=5)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', answer.text)

    assert policy
    assert "default-src 'none'" in policy[1]
    assert "connect-src 'self'" in policy[1]
    assert "unsafe-inline" not in policy[1].replace("style-src 'unsafe-inline'", "")
    assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert not re.search(r'(?:src|href)="(?:https?:)?//', answer.text)
