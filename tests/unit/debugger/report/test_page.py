"""The page from its parts: what stands first, what it never says, and how large it may become."""

import base64
import json
import re
from dataclasses import replace

import numpy as np
import plotly.graph_objects
import pytest

from debugger.profiler.measured import Measured, Operator
from debugger.report import tensors
from debugger.report.material import Material, gather
from debugger.report.page import page
from debugger.report.summary import headline
from debugger.report.tensors import Digest, Distribution, Gradients, Loss
from debugger.report.words import inside, seconds, sentence, title
from debugger.verdict import Status, Sureness, Verdict
from tests import diagnosis

MOST_BYTES = 10_000_000
LIBRARY = 4_900_000


def verdict(status, rule="overfit", **more):
    return Verdict(rule=rule, status=status, reason="because of 3", **more)


def full(count=1, name="layer", steps=6):
    """A digest as large as a pass over tensors may make it."""
    layers = [f"{name}{at}.weight" for at in range(tensors.MOST_LAYERS)]
    random = np.random.default_rng(0)
    sizes = 10.0 ** random.normal(-3, 2, (len(layers), tensors.MOST_STEPS))
    sizes[3, 5:] = np.inf
    sizes[7] = np.nan
    sizes[8] = 0
    columns = list(range(tensors.MOST_COLUMNS))
    facts = random.random((4, len(columns)))
    distributions = [
        Distribution(
            f"{name}{at}", kind, columns, np.linspace(-1, 1, tensors.BINS + 1),
            random.random((len(columns), tensors.BINS)), *facts[:3],
            np.zeros(len(columns), np.int64), 10**6,
        )
        for kind in ("weights", "activations") for at in range(tensors.MOST_DISTRIBUTIONS)
    ]  # fmt: skip
    losses = [
        Loss("CrossEntropyLoss_output_0", mode, list(range(tensors.MOST_LOSSES)),
             random.random(tensors.MOST_LOSSES))
        for mode in ("TRAIN", "EVAL")
    ]  # fmt: skip
    steps = list(range(0, 500 * tensors.MOST_STEPS, 500))
    gradients = Gradients(layers, steps, sizes, "L2 norm", 2000)
    return Digest(10_000, 8_000, gradients, distributions, losses, ["gradients: 240 of 2,000"])


def largest(name="layer"):
    hosts = [f"algo-{at}" for at in range(6)]
    series = [each for host in hosts
              for each in diagnosis.machine(host, 7200, cores=96, gpus=8)]  # fmt: skip
    steps = [diagnosis.steps(10_000, host=host, rank=at) for at, host in enumerate(hosts * 2)]
    operators = [
        Operator(f"{name}<{'x' * 3000}>{at}", kind, at, 1.0 / (at + 1), 0.1)
        for kind in ("operator", "kernel", "python") for at in range(200)
    ]  # fmt: skip
    return Material(
        job="large",
        verdicts=diagnosis.verdicts() * 20,
        measured=Measured(series=series, steps=steps, operators=operators, began=diagnosis.BEGAN),
        metrics=[{"epoch": at, "train_loss": 1 / at} for at in range(1, 5000)],
        tensors=full(name=name),
    )


def figures(text):
    return json.loads(
        re.search(r'<script type="application/json" id="plots">(.*?)</script>', text)[1]
    )


def first_screen(text):
    return text.split("<header>")[1].split("</header>")[0]


def words(html):
    return re.sub(r"<[^>]+>", " ", html)


def test_what_is_wrong_stands_first_with_what_to_change_and_what_it_brings():
    text = page(gather(job="dogs", verdicts=diagnosis.verdicts()))

    first = first_screen(text)
    assert "2 problems found: learning rate too high, dead ReLU" in first
    assert first.index("Learning rate too high") < first.index("Dead ReLU")
    for said in ("certain", "The loss rose from 2.1 to 37.4", "learning_rate=0.001",
                 "A loss that falls"):  # fmt: skip
        assert said in first


def test_the_surest_finding_comes_first_then_the_most_frequent():
    found = [
        verdict(Status.ISSUES_FOUND, "rare", sureness=Sureness.LIKELY, times=1),
        verdict(Status.ISSUES_FOUND, "often", sureness=Sureness.LIKELY, times=9),
        verdict(Status.ISSUES_FOUND, "maybe", sureness=Sureness.POSSIBLE, times=99),
        verdict(Status.ISSUES_FOUND, "sure", sureness=Sureness.CERTAIN, times=1),
    ]

    ordered = Material(job="", verdicts=found).of(Status.ISSUES_FOUND)

    assert [each.rule for each in ordered] == ["sure", "often", "rare", "maybe"]


@pytest.mark.parametrize(
    ("statuses", "told", "css"),
    [
        pytest.param([], "no rule was run", "blind", id="none"),
        pytest.param([Status.NOT_APPLICABLE] * 3, "no rule could look", "blind", id="all blind"),
        pytest.param([Status.ERROR], "no rule could look", "blind", id="failed"),
        pytest.param([Status.NO_ISSUES_FOUND, Status.NOT_APPLICABLE, Status.ERROR],
                     "by 1 rule; 2 could not look", "blind", id="hardly looked at"),
        pytest.param([Status.NO_ISSUES_FOUND] * 2 + [Status.NOT_APPLICABLE],
                     "by 2 rules; 1 could not look", "fine", id="mostly healthy"),
        pytest.param([Status.NO_ISSUES_FOUND], "Nothing wrong was found", "fine", id="healthy"),
        pytest.param([Status.NO_ISSUES_FOUND, Status.ISSUES_FOUND], "1 problem found", "found",
                     id="ill"),
    ],
)  # fmt: skip
def test_silence_is_never_told_as_health(statuses, told, css):
    material = Material(job="", verdicts=[verdict(status) for status in statuses])

    assert told in headline(material)[0]
    assert headline(material)[1] == css


def test_what_could_not_look_is_named_on_the_first_screen_with_its_reason():
    text = page(gather(job="", verdicts=diagnosis.verdicts(found=False)))

    said = words(first_screen(text))
    assert re.search(r"GPU memory increase, Low GPU utilization\s*: no GPU was measured", said)
    assert "PermissionError" in said
    assert text.count("✓ nothing found") == 3
    assert text.count("– could not look") == 4
    assert text.count("! rule failed") == 1


def test_what_was_not_saved_or_measured_is_said_in_every_section():
    text = page(gather(job="", verdicts=[]))

    for said in (
        "No rule was run", "No losses were recorded", "No tensors were saved",
        "No step was timed", "The machine was not measured", "Nothing was measured",
    ):  # fmt: skip
        assert said in text
    assert figures(text) == []


def coloured(value):
    """Names of the style sheet as colours, which is what the page's script does."""
    if isinstance(value, str) and value.startswith("--"):
        return "#123456"
    if isinstance(value, list):
        return [coloured(each) for each in value]
    if isinstance(value, dict):
        return {key: coloured(each) for key, each in value.items()}
    return value


def numbers(spec):
    values = np.frombuffer(base64.b64decode(spec["bdata"]), "<f4")
    return values.reshape(json.loads(f"[{spec['shape']}]")) if "shape" in spec else values


@pytest.fixture(scope="module")
def large():
    return page(largest())


def test_every_plot_is_one_that_the_library_knows(large):
    drawn = figures(large)

    assert len(drawn) > 60
    for each in drawn:
        plotly.graph_objects.Figure(data=coloured(each["data"]), layout=coloured(each["layout"]))


def test_every_colour_is_one_of_the_style_sheet(large):
    text = json.dumps(figures(large))

    named = set(re.findall(r'"(--[a-z0-9]+)', text))
    assert named >= {"--s1", "--s2", "--empty", "--mark"}
    for name in named:
        assert large.count(f"{name}:") >= 2, name  # in the light and in the dark


def test_the_page_is_bounded_at_any_number_of_steps_layers_and_hosts(large):
    assert LIBRARY < len(large.encode()) < MOST_BYTES
    for figure in figures(large):
        for trace in figure["data"]:
            points = numbers(trace["x"]) if isinstance(trace["x"], dict) else trace["x"]
            assert len(points) <= 800
    assert "2 more hosts not drawn" in large
    assert "gradients: 240 of 2,000" in large


def test_names_are_text_wherever_they_stand():
    evil = diagnosis.EVIL
    series = [replace(each, host=evil, name=evil) for each in diagnosis.machine()]
    material = replace(
        largest(evil), job=evil, environment={evil: evil}, notes=[evil],
        measured=Measured(series=series, steps=[replace(diagnosis.steps(), host=evil)],
                          operators=[Operator(evil, evil, 1, 1.0, 1.0)]),
        verdicts=[verdict(Status.ISSUES_FOUND, evil, advice=evil, gain=evil, tensors=[evil],
                          parameters={evil: evil}),
                  verdict(Status.NOT_APPLICABLE, evil)],
    )  # fmt: skip

    text = page(material)

    text.encode()
    assert "<script>alert" not in text
    assert "\u202e" not in text
    assert text.count("<script") == 4 + library_scripts()
    for each in figures(text):
        assert "<script" not in json.dumps(each).replace("\\u003c", "<")


def library_scripts():
    """Mentions of a script's beginning within the library itself."""
    from debugger.report.figures import scripts

    return sum(text.count("<script") for text in scripts())


def test_only_the_pages_own_scripts_may_run(large):
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', large)[1]

    assert "default-src 'none'" in policy
    assert len(re.findall(r"'sha256-[A-Za-z0-9+/=]+'", policy)) == 3
    assert "unsafe-eval" not in policy
    assert "script-src 'unsafe" not in policy


def test_a_gradient_that_is_no_number_is_marked_and_zero_is_the_coldest():
    text = page(Material(job="", tensors=full()))

    heat = next(each for each in figures(text) if each["data"][0].get("colorscale") == "Viridis")
    sizes = numbers(heat["data"][0]["z"])
    assert np.isnan(sizes[7]).all()
    assert (sizes[8] == np.nanmin(sizes)).all()
    assert np.isnan(sizes[3, 5:]).all()
    assert heat["data"][1]["name"] == "NaN or infinite"
    assert len(numbers(heat["data"][1]["x"])) == tensors.MOST_STEPS - 5
    assert "NaN or infinite, first at step 2,500 in layer3.weight" in text


def test_a_job_of_one_step_has_a_report():
    one = Measured(steps=[diagnosis.steps(1)], series=diagnosis.machine(points=1))

    text = page(gather(job="", verdicts=[], measured=one))

    assert "1 step of algo-1" in text
    assert len(figures(text)) >= 4


@pytest.mark.parametrize(
    ("rule", "named", "within"),
    [
        ("vanishing_gradient", "Vanishing gradient", "vanishing gradient"),
        ("dead_relu", "Dead ReLU", "dead ReLU"),
        ("gpu_memory_increase", "GPU memory increase", "GPU memory increase"),
        ("stalled_training_rule", "Stalled training", "stalled training"),
        ("MyOwnRule", "MyOwnRule", "myOwnRule"),
        ("", "A rule without a name", "a rule without a name"),
    ],
)
def test_rules_have_names_for_people(rule, named, within):
    assert title(rule) == named
    assert inside(named) == within


def test_words_for_numbers():
    assert [seconds(value) for value in (0.0031, 12.34, 59.7, 599.6, 7300, float("nan"))] == [
        "0.0031 s", "12.3 s", "1 min 0 s", "10 min 0 s", "2 h 1 min", "–",
    ]  # fmt: skip
    assert sentence("the loss rose") == "The loss rose"
    assert sentence("learning_rate=0.1 is high") == "learning_rate=0.1 is high"
