"""A real job's report in a real browser, its temperature in the artifact, its scalars on disk."""

import json
import re
from pathlib import Path

import pytest

from artifact.inference import Classifier
from tests import browser, events, reports
from tests.tree import COLOURS, Tree, photo
from train.report import write

TAG = "<img src=x onerror=alert(1)>"
CLASSES = {"blue": COLOURS["blue"], TAG: COLOURS["green"], "red": COLOURS["red"]}
WRONG = "labelled-wrongly"


def mislabel(folder, each):
    """Photos of the next class's colour under a class's name: mistakes that the network is sure
    of."""
    labels = list(CLASSES)
    for number, label in enumerate(labels):
        colour = CLASSES[labels[(number + 1) % len(labels)]]
        for at in range(each):
            (folder / label / f"{WRONG}-{at}.jpg").write_bytes(
                photo(colour, 500 + 10 * at + number)
            )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A job whose held-out labels are wrong now and then, though its training labels are right."""
    tree = Tree(tmp_path_factory.mktemp("reported"))
    tree.channel("train", 20, CLASSES)
    for split, count in (("validation", 20), ("test", 12)):
        mislabel(tree.channel(split, count, CLASSES), count // 4)
    tree.config("tensorboardoutputconfig.json", {"LocalPath": str(tree.root / "scalars")})
    done = tree.train(epochs="6", learning_rate="0.01")
    assert done.returncode == 0, done.stderr
    return tree, done


@pytest.fixture(scope="module")
def chromium():
    with browser.running() as running:
        yield running


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        pytest.param(1280, "light", id="desktop"),
        pytest.param(390, "light", id="phone"),
        pytest.param(1280, "dark", id="dark"),
    ],
)
def test_the_report_shows_in_a_browser(finished, chromium, tmp_path, width, scheme):
    tree, _ = finished

    seen = browser.look(chromium, tree.output("report.html"), width, scheme=scheme)
    picture = seen.page.screenshot(path=str(tmp_path / "report.png"), full_page=True)

    assert seen.errors == []
    assert seen.requests == []
    assert seen.overflow() <= 0
    assert seen.page.locator("img").count() > 20
    assert seen.broken_images() == []
    assert seen.page.get_by_text(re.compile(f"{WRONG}-[0-9]")).first.is_visible()
    for title in ("Training", "Confusion matrix", "Most confused pairs", "Most certain mistakes",
                  "Calibration", "Data", "Job"):  # fmt: skip
        assert seen.page.get_by_role("heading", name=title, exact=True).is_visible()
    assert seen.page.get_by_role("rowheader", name=TAG).is_visible()
    assert len(picture) > 50_000


def test_a_table_sorts_by_a_click_on_its_heading(finished, chromium):
    tree, _ = finished
    seen = browser.look(chromium, tree.output("report.html"))
    first = seen.page.locator("table.sortable tbody td").first

    seen.page.get_by_role("button", name="class", exact=True).click()
    upwards = first.text_content()
    seen.page.get_by_role("button", name="class", exact=True).click()

    assert upwards == TAG
    assert first.text_content() == "red"


@pytest.mark.parametrize("width", [1280, 390])
def test_the_report_of_133_classes_fits(chromium, tmp_path, width):
    write.write_page(tmp_path / "report.html", reports.results(tmp_path, 133))

    seen = browser.look(chromium, tmp_path / "report.html", width)

    assert seen.errors == []
    assert seen.overflow() <= 0
    assert seen.broken_images() == []


def test_the_report_prints_on_paper_of_its_width(chromium, tmp_path):
    write.write_page(tmp_path / "report.html", reports.results(tmp_path, 133))
    seen = browser.look(chromium, tmp_path / "report.html", 718)  # A4 within Chromium's margins

    seen.page.emulate_media(media="print")

    assert seen.overflow() <= 0
    assert not seen.page.locator("nav").is_visible()
    assert seen.page.pdf(format="A4").startswith(b"%PDF")


def test_the_report_can_be_read_without_scripts(finished, chromium):
    tree, _ = finished
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()

    page.goto(tree.output("report.html").as_uri())

    assert page.get_by_role("columnheader", name="recall").is_visible()
    context.close()


def test_overconfidence_is_measured_and_served_corrected(finished):
    tree, done = finished

    calibration = tree.description["metrics"]["calibration"]
    assert tree.description["temperature"] == calibration["fitted"] > 1.2
    assert calibration["test"]["ece_after"] < calibration["test"]["ece_before"]
    assert calibration["test"]["nll_after"] < calibration["test"]["nll_before"]
    assert calibration["validation"]["photos"] == 75
    served = Classifier(tree.root / "model").reference()
    assert served == pytest.approx(tree.description["reference_probabilities"], abs=1e-3)
    assert json.loads(tree.output("evaluation.json").read_text())["calibration"] == calibration
    assert len(re.findall(r"^temperature: [\d.]+ \(applied", done.stdout, re.MULTILINE)) == 1


def test_scalars_lie_where_the_platform_looks(finished):
    tree, _ = finished

    recorded = [json.loads(line) for line in tree.output("metrics.jsonl").read_text().splitlines()]
    scalars = events.scalars(tree.root / "scalars")
    assert not (tree.root / "output" / "tensorboard").exists()
    assert set(scalars) == recorded[0].keys() - {"epoch", "step"}
    for name, values in scalars.items():
        expected = [(metrics["epoch"], pytest.approx(metrics[name], rel=1e-5, abs=1e-9))
                    for metrics in recorded]  # fmt: skip
        assert values == expected


def test_waiting_for_photos_is_a_share_of_the_epoch(finished):
    _, done = finished

    shares = re.findall(r"data_wait_share=([0-9.eE+-]+)", done.stdout)
    assert len(shares) == 6
    assert all(0 < float(share) < 1 for share in shares)


def test_the_report_holds_no_environment_variables(tmp_path):
    tree = Tree(tmp_path / "ml")
    tree.channel("train", 4)

    done = tree.train({"AWS_SECRET_ACCESS_KEY": "xyzzy-secret"}, epochs="1")

    assert done.returncode == 0, done.stderr
    assert events.scalars(tree.root / "output" / "tensorboard")["train_loss"]
    for path in filter(Path.is_file, tree.output("").rglob("*")):
        assert b"xyzzy-secret" not in path.read_bytes()
