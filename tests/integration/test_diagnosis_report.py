"""The diagnosis report of real tensors and measurements, looked at in a real browser."""

import json
import re
import time
from dataclasses import replace

import pytest

from debugger.profiler.measured import Measured
from debugger.report import write
from debugger.report.material import gather
from tests import browser, diagnosis
from tests.tree import Tree

TAG = "<img src=x onerror=alert(1)>"
TITLES = ("Rules", "Loss", "Inside the network", "Time of a step", "Operators and functions",
          "Machine", "Resources", "Environment")  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore")  # smdebug warns at import and while it reads


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    from smdebug.trials import create_trial

    folder = tmp_path_factory.mktemp("diagnosed")
    trial = create_trial(str(diagnosis.saved(folder / "tensors")))
    named = replace(diagnosis.verdicts()[0], rule=TAG)
    series = [*diagnosis.machine(gpus=2), *diagnosis.machine(TAG)]
    material = gather(
        job="classify-2026-11-21-06-00-00-001",
        verdicts=[*diagnosis.verdicts(), named],
        measured=diagnosis.job(series=series, steps=[diagnosis.steps(), diagnosis.steps(rank=1)]),
        metrics=diagnosis.metrics(),
        trial=trial,
        environment={"device": "cpu", TAG: TAG},
    )
    return write.write(folder, material)


@pytest.fixture(scope="module")
def chromium():
    with browser.running() as running:
        yield running


DRAWN = "[...document.querySelectorAll('[data-plot]')].every(e => e.querySelector('svg'))"


def to_the_end(page, seconds=90):
    """As a reader scrolls: plots are drawn when they come near. Up and down again where the window
    moved on before a slow machine had shown what was near."""
    end = time.monotonic() + seconds
    while True:
        height = page.evaluate("document.documentElement.scrollHeight")
        for place in range(0, height + 600, 600):
            page.evaluate(f"scrollTo(0, {place})")
            page.wait_for_timeout(60)
        if page.evaluate(DRAWN):
            return
        assert time.monotonic() < end, DRAWN


def until(page, expression, seconds=90):
    """Asks from outside: the page's policy forbids playwright's own way, which evaluates text."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        pytest.param(1280, "light", id="desktop"),
        pytest.param(390, "light", id="phone"),
        pytest.param(390, "dark", id="phone in the dark"),
        pytest.param(1280, "dark", id="dark"),
    ],
)
def test_the_report_shows_in_a_browser(report, chromium, width, scheme):
    seen = browser.look(chromium, report, width, scheme=scheme)
    to_the_end(seen.page)

    assert seen.errors == []
    assert seen.requests == []
    assert seen.overflow() <= 0
    for title in TITLES:
        assert seen.page.get_by_role("heading", name=title, exact=True).is_visible()
    assert seen.page.get_by_role("rowheader", name=TAG).is_visible()
    assert seen.page.locator(".js-plotly-plot").count() >= 15
    wide = seen.page.evaluate(
        "Math.max(...[...document.querySelectorAll('.plot svg.main-svg')].map("
        "each => each.getBoundingClientRect().right))"
    )
    assert wide <= width


def test_what_is_wrong_is_on_the_first_screen(report, chromium):
    for width, height in ((1280, 900), (390, 844)):
        seen = browser.look(chromium, report, width, height)
        for text in ("2 problems found", "Learning rate too high", "learning_rate=0.001"):
            box = seen.page.get_by_text(text).first.bounding_box()
            assert box["y"] + box["height"] < height


LUMINANCE = """
([inner, outer]) => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((value) => {
      value /= 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const colour = (element, property) => {
    for (; element; element = element.parentElement) {
      const value = getComputedStyle(element)[property];
      if (property === "fill" || property === "color" || !/, 0\\)$/.test(value)) return value;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll(inner)].map((element) => {
    const property = element.namespaceURI.endsWith("svg") ? "fill" : "color";
    const paper = colour(element.closest(outer), "backgroundColor");
    const [a, b] = [light(colour(element, property)), light(paper)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  });
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        pytest.param(".plot .xtick text, .plot .ytick text, .plot .legendtext", ".plotted",
                     id="words of plots"),
        pytest.param(".finding p, .finding dt, .finding .sure", ".finding", id="findings"),
        pytest.param(".status, .rules td, .rules th", "body", id="rules"),
        pytest.param(".soft, nav a, summary, caption", "body", id="small words"),
    ],
)  # fmt: skip
def test_words_can_be_read_in_the_light_and_in_the_dark(report, chromium, scheme, inner, outer):
    seen = browser.look(chromium, report, scheme=scheme)
    to_the_end(seen.page)

    contrasts = seen.page.evaluate(LUMINANCE, [inner, outer])

    assert len(contrasts) > 3
    assert min(contrasts) >= 4.5  # WCAG 2.2, AA


def test_plots_change_their_colours_with_the_scheme(report, chromium):
    seen = browser.look(chromium, report)
    to_the_end(seen.page)
    colour = "document.querySelector('.plot .xtick text').style.fill"
    light = seen.page.evaluate(colour)

    seen.page.emulate_media(color_scheme="dark")
    until(seen.page, f"{colour} !== {light!r}")

    assert seen.errors == []


def test_a_plot_tells_its_numbers_under_the_pointer(report, chromium):
    seen = browser.look(chromium, report)
    to_the_end(seen.page)
    place = seen.page.get_by_role("group", name="Gradients: layers over time")
    place.scroll_into_view_if_needed()
    box = place.locator(".nsewdrag").first.bounding_box()

    seen.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.97)

    told = place.locator(".hoverlayer")
    told.get_by_text("L2 norm").wait_for()
    assert re.search(r"layers\.0\.0\.(weight|bias)step \d+L2 norm [\d.e-]+", told.text_content())


def test_a_menu_chooses_the_tensor_by_keyboard(report, chromium):
    seen = browser.look(chromium, report)
    to_the_end(seen.page)
    figure = seen.page.locator("figure", has_text="Weights over time")
    before = figure.locator("figcaption").text_content()

    figure.get_by_label("Tensor").focus()
    seen.page.keyboard.press("ArrowDown")

    after = figure.locator("figcaption").text_content()
    assert before != after
    label = figure.locator("[data-plot]").get_attribute("aria-label")
    assert label.endswith(after.removeprefix("Weights over time"))
    assert seen.errors == []


def test_every_plot_has_words_for_those_who_do_not_see_it(report, chromium):
    seen = browser.look(chromium, report)

    labels = seen.page.eval_on_selector_all(
        "[data-plot]", "all => all.map(each => [each.getAttribute('role'), each.ariaLabel])"
    )

    assert len(labels) >= 15
    for role, label in labels:
        assert role == "group"
        assert re.search(r"\d", label), label


def test_the_report_prints_whole_and_in_the_light(report, chromium, tmp_path):
    seen = browser.look(chromium, report, scheme="dark")

    pdf = seen.page.pdf(path=str(tmp_path / "report.pdf"), format="A4", print_background=True)

    pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
    assert 6 <= pages <= 30
    assert seen.page.locator(".js-plotly-plot").count() == seen.page.locator("[data-plot]").count()
    assert seen.errors == []


def test_paper_has_the_colours_of_paper_and_cuts_no_plot(report, chromium):
    seen = browser.look(chromium, report, 1280, scheme="dark")

    seen.page.emulate_media(media="print")
    until(seen.page, "document.querySelectorAll('.js-plotly-plot').length > 10")

    # A4 less its margins, at 96 pixels an inch: 703
    widths = seen.page.eval_on_selector_all(
        ".plot svg.main-svg", "all => all.map(each => each.getBoundingClientRect().width)"
    )
    assert max(widths) <= 703
    ink = seen.page.evaluate("document.querySelector('.plot .xtick text').style.fill")
    assert ink == "rgb(60, 66, 76)"
    assert not seen.page.locator(".menu").first.is_visible()
    assert seen.page.locator(".rules details p").first.is_visible()
    cut = seen.page.eval_on_selector_all(
        ".plotted",
        "all => all.filter(each => getComputedStyle(each).breakInside !== 'avoid').length",
    )
    assert cut == 0


def test_the_report_can_be_read_without_scripts(report, chromium):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()

    page.goto(report.as_uri())

    assert page.get_by_text("2 problems found").is_visible()
    assert page.get_by_role("rowheader", name="Dead ReLU").is_visible()
    assert page.get_by_role("cell", name="waiting for data", exact=True).is_visible()
    context.close()


def test_a_training_job_of_ours_has_a_report(chromium, tmp_path):
    from smdebug.trials import create_trial

    tree = Tree(tmp_path / "ml")
    tree.channel("train", 8)
    done = tree.train(epochs="2", debug_save_interval="1")
    assert done.returncode == 0, done.stderr
    trial = create_trial(str(tree.root / "output" / "tensors"))

    path = write.write(
        tree.output(""),
        gather(
            job="colours",
            verdicts=[],
            trial=trial,
            metrics=[json.loads(line) for line in tree.output("metrics.jsonl").open()],
        ),  # fmt: skip
    )

    made = json.loads((path.parent / write.RECORD).read_text())
    assert [row["epoch"] for row in made["metrics"]] == [1, 2]
    assert "SmallCNN_0.weight" in made["tensors"]["gradients"]["last"]
    assert {loss["mode"] for loss in made["tensors"]["losses"]} == {"TRAIN", "EVAL"}
    seen = browser.look(chromium, path)
    to_the_end(seen.page)
    assert seen.errors == []
    assert seen.page.get_by_role("group", name="Gradients: layers over time").is_visible()


def test_no_plot_can_be_sent_anywhere(report, chromium):
    """The library has a button that uploads a plot to its maker's cloud."""
    seen = browser.look(chromium, report)
    to_the_end(seen.page)

    buttons = seen.page.eval_on_selector_all(
        ".modebar-btn",
        "all => all.map(e => e.ariaLabel || e.dataset.title || e.title || e.textContent)",
    )

    assert "Zoom" in buttons
    assert [name for name in buttons if re.search("(?i)share|cloud|upload|edit", name)] == []
    assert seen.page.evaluate(
        "[...document.querySelectorAll('.js-plotly-plot')].every(e => !e._context.plotlyServerURL)"
    )


def test_a_long_job_of_many_hosts_opens_at_once(chromium, tmp_path):
    hosts = [f"algo-{at}" for at in range(8)]
    measured = Measured(
        series=[each for host in hosts
                for each in diagnosis.machine(host, 7200, cores=96, gpus=8)],
        steps=[diagnosis.steps(10_000, host=host) for host in hosts],
        began=diagnosis.BEGAN,
    )  # fmt: skip
    path = write.write(tmp_path, gather(job="", verdicts=diagnosis.verdicts(), measured=measured))

    seen = browser.look(chromium, path)
    at_first = seen.page.locator(".js-plotly-plot").count()
    to_the_end(seen.page)

    assert at_first <= 4  # only what is near the window is drawn
    assert seen.page.locator(".js-plotly-plot").count() > 15
    assert seen.errors == []
    assert seen.overflow() <= 0
