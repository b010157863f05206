"""The report's parts: nothing of a name becomes markup, and any number of classes fits in."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pages import document, markup
from tests import make, reports
from train.report import charts, confusion, sections, write
from train.report.photos import Thumbnails, shrink

EVIL = "<script>alert('x')</script>\"&$title\u202e\udcff"
MOST_BYTES = 5 << 20


@pytest.mark.parametrize("classes", [2, 24, 133, 1500])
def test_the_page_is_bounded_at_any_number_of_classes(tmp_path, classes):
    per_class = max(2, 100 // classes)

    write.write_page(tmp_path / "report.html", reports.results(tmp_path, classes, per_class))

    text = (tmp_path / "report.html").read_text()
    assert 10_000 < len(text.encode()) < MOST_BYTES
    for title in ("Training", "Confusion matrix", "Most confused pairs", "Most certain mistakes",
                  "Classes", "Calibration", "Data", "Job"):  # fmt: skip
        assert f"<h2>{title}</h2>" in text
    assert "://" not in text
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_the_confusion_matrix_is_a_line_per_class(tmp_path):
    results = reports.results(tmp_path, 40)

    write.write_evaluation(tmp_path / "evaluation.json", results)

    text = (tmp_path / "evaluation.json").read_text()
    assert json.loads(text)["confusion"] == results.evaluation.confusion.tolist()
    assert len(text.splitlines()) < 600


@pytest.mark.parametrize("classes", [2, 24, 400])
def test_several_labels_have_sections_of_their_own(tmp_path, classes):
    results = reports.several(tmp_path, classes, max(2, 100 // classes))

    write.write(tmp_path, results)

    text = (tmp_path / "report.html").read_text()
    assert 10_000 < len(text.encode()) < MOST_BYTES
    for title in ("Training", "Labels", "Most certain mistakes", "Labels together", "Data", "Job"):
        assert f"<h2>{title}</h2>" in text
    assert "<h2>Confusion matrix</h2>" not in text
    for words in ("mean average precision on test", "Labels of validation photos", "threshold"):
        assert words in text
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert len(written["thresholds"]) == classes
    assert (tmp_path / "confusion_matrix.png").stat().st_size > 5000


def test_names_are_text_wherever_they_stand(tmp_path):
    labels = [EVIL + str(at) for at in range(3)]
    results = reports.results(tmp_path, 3, labels=labels)

    results = replace(results, job=EVIL)

    text = write.page(results)

    assert text.count("<script") == 1
    assert "&lt;script&gt;alert(&#x27;x&#x27;)" in text
    assert "&lt;b&gt;broken&lt;/b&gt;" in text
    assert "\u202e" not in text
    text.encode()


def test_thousands_of_epochs_are_drawn_with_hundreds_of_points(tmp_path):
    results = reports.results(tmp_path, 2, epochs=20_000)

    body = sections.training(results).body

    assert len(body) < 100_000
    assert "nan" not in body


def test_photos_carry_nothing_but_pixels_and_are_small():
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    data = make.encode(make.picture(3000, 2000), "JPEG", exif=exif, quality=95)

    small = shrink(data)

    assert len(small) < 20_000
    assert b"taken at home" in data
    assert b"taken at home" not in small


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        pytest.param({"budget": 0}, "gone", id="no bytes left"),
        pytest.param({"seconds": -1}, "gone", id="no time left"),
        pytest.param({}, "cannot be read", id="file gone"),
    ],
)
def test_a_photo_that_is_not_shown_is_named(tmp_path, limits, told):
    index = reports.results(tmp_path, 2).splits.train
    name = index.name(0)
    (index.root / name).unlink()

    figure = Thumbnails(**limits).figure(index, 0, "")

    assert told in figure
    assert name in figure
    assert "<img" not in figure


def test_confused_classes_become_neighbours():
    counts = np.eye(9, dtype=np.int64) * 20
    for group in ((0, 4, 8), (1, 6), (2, 7)):
        counts[np.ix_(group, group)] += 5

    order = confusion.order(counts).tolist()

    assert sorted(order) == list(range(9))
    places = {each: order.index(each) for each in range(9)}
    assert max(places[each] for each in (0, 4, 8)) - min(places[each] for each in (0, 4, 8)) == 2
    assert abs(places[1] - places[6]) == abs(places[2] - places[7]) == 1


def test_the_most_frequent_mistakes_come_first():
    counts = np.array([[5, 0, 3], [1, 9, 0], [0, 0, 0]])

    found = confusion.pairs(counts, 5)

    assert [(pair.true, pair.predicted, pair.photos, pair.of) for pair in found] == [
        (0, 2, 3, 8),
        (1, 0, 1, 10),
    ]


def test_a_network_without_mistakes_has_a_report_too(tmp_path):
    results = reports.results(tmp_path, 3)
    results.evaluation.confusion[:] = np.diag(results.evaluation.confusion.sum(1))
    results.answers.predicted[:] = results.answers.targets

    titles = [section.title for section in write.contents(results, ())]

    assert "Most confused pairs" not in titles
    assert "Confusion matrix" in titles


def test_the_picture_of_many_classes_is_small():
    counts = np.random.default_rng(0).integers(0, 3, (1500, 1500))

    picture = confusion.picture(counts, confusion.order(counts))

    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 1 << 20


@pytest.mark.parametrize(
    ("low", "high", "first", "last"),
    [
        pytest.param(0, 1, 0, 1, id="share"),
        pytest.param(0.3, 0.3, 0.3, 0.33, id="one value"),
        pytest.param(0, 0, 0, 0.1, id="zero"),
        pytest.param(2e-6, 9e-6, 2e-6, 1e-5, id="small"),
    ],
)
def test_the_scale_holds_its_values_between_round_numbers(low, high, first, last):
    ticks = charts.nice(low, high)

    assert ticks[0] <= low + 1e-12
    assert ticks[-1] >= high - 1e-12
    assert ticks[0] == pytest.approx(first)
    assert ticks[-1] == pytest.approx(last)
    assert 2 <= len(ticks) <= 7


def test_findings_from_elsewhere_stand_after_the_data(tmp_path):
    section = document.Section("Data doctor", markup.paragraph("<i>two</i> twins"))

    found = [each.title for each in write.contents(reports.results(tmp_path, 2), [section])]

    assert found.index("Data doctor") == found.index("Data") + 1


def test_the_interval_of_an_accuracy_is_wilsons():
    low, high = sections.interval(0.9, 100)

    assert (low, high) == pytest.approx((0.8256, 0.9448), abs=1e-3)
    assert sections.interval(1.0, 10)[1] == 1.0


def test_the_page_forbids_the_network():
    text = document.document("t", markup.Html(""), [])

    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/=]+'", policy)
