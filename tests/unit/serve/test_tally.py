"""What a request leaves behind in the numbers, and that no thread's count is lost."""

import json
import logging
import subprocess
import sys
import threading
import time

import pytest

from container import log
from serve import trace
from serve.refusal import BusyError
from serve.tally import SAMPLE, Histogram, Numbers, Tally
from serve.trace import Trace, server_timing
from tests.tree import ROOT


def test_a_value_on_a_bound_belongs_below_it_and_a_huge_one_above_all() -> None:
    histogram = Histogram((1, 2, 4))
    for value in (0.5, 1, 2, 3, 4, 99):
        histogram.observe(value)

    assert histogram.counts == [2, 1, 2, 1]
    assert histogram.count == 6
    assert histogram.sum == 109.5


def test_marks_share_the_time_between_the_stages() -> None:
    made = trace.begin()
    start = made.began
    trace.mark("read", start + 1)
    trace.mark("decode", start + 3)
    trace.mark("decode", start + 4)
    trace.mark("encode", start)  # a clock never runs backwards; a mark may come late
    ended = trace.end()

    assert ended is made
    assert ended.seconds == pytest.approx({"read": 1, "decode": 3, "encode": 0})
    assert server_timing(ended, 4.5) == (
        "read;dur=1000.00, decode;dur=3000.00, encode;dur=0.00, total;dur=4500.00"
    )


def test_outside_a_request_marks_do_nothing_and_lines_have_no_id() -> None:
    trace.begin("an-id")
    inside = log.inference_id.get()
    trace.end()
    trace.mark("read")
    trace.classified(1, 0.0)
    trace.refused(BusyError("x"))

    assert (inside, log.inference_id.get(), trace.end()) == ("an-id", "", None)


@pytest.mark.parametrize("hostile", ["a\nERROR forged", "é", "\x1b[2J"], ids=ascii)
def test_an_id_that_is_no_plain_text_is_not_logged(hostile: str) -> None:
    trace.begin(hostile)
    seen = log.inference_id.get()
    trace.end()

    assert seen == ""


def test_threads_lose_no_count() -> None:
    tally = Tally()

    def ask() -> None:
        for _ in range(2000):
            made = Trace()
            made.images = 2
            made.mark("engine")
            tally.request(200, made)
            tally.batch(8)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    numbers = tally.numbers()
    assert numbers.answers == {(200, ""): 8000}
    assert (numbers.images, numbers.requests, numbers.total.count) == (16_000, 8000, 8000)
    assert numbers.stages["engine"].count == 8000
    assert (numbers.stages["read"].count, numbers.batches.sum) == (0, 64_000)


def test_what_came_since_is_told_apart_and_the_earlier_numbers_stand() -> None:
    tally = Tally()
    tally.request(200, Trace())
    before = tally.numbers()
    refused = Trace()
    refused.refusal = "BusyError"
    tally.request(503, refused)
    since = tally.numbers() - before

    assert since.answers == {(503, "BusyError"): 1}
    assert (since.requests, since.total.count) == (1, 1)
    assert (before + since).answers == tally.numbers().answers
    assert before.requests == 1
    assert (before - Numbers()).answers == before.answers


def test_the_sample_is_bounded_drawn_from_all_and_begins_anew() -> None:
    tally = Tally()
    for at in range(20 * SAMPLE):
        made = Trace()
        made.began = time.monotonic() - (10 if at >= 10 * SAMPLE else 0)
        tally.request(200, made)
    sample = tally.take_sample()

    assert len(sample) == SAMPLE
    # half of all requests were slow; fewer than 20 of 100 happen once in a thousand million times
    assert 20 < sum(each > 5 for each in sample) < 80
    assert tally.take_sample() == []


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_engine_logs_a_traceback_in_one_line_of_the_form_asked_for(form: str) -> None:
    program = f"""
import logging
from container import log
log.to_stderr({form!r})
try:
    1 / 0
except ZeroDivisionError:
    logging.exception("a batch failed")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    (line,) = done.stderr.splitlines()

    assert "a batch failed" in line
    assert "ZeroDivisionError" in line
    if form == "json":
        assert json.loads(line)["level"] == "ERROR"


def test_both_forms_of_a_line_have_the_id_and_are_one_line() -> None:
    try:
        raise ValueError("a\nb")
    except ValueError:
        made = logging.getLogger("x").makeRecord(
            "serve", logging.ERROR, "f", 1, "500 id=%s", ("7",), sys.exc_info()
        )
    trace.begin("id-9")
    text, line = log.OneLine().format(made), log.Json().format(made)
    trace.end()

    told = json.loads(line)
    assert text.endswith("inference_id=id-9")
    assert "\n" not in text + line
    assert (told["level"], told["logger"], told["message"], told["inference_id"]) == (
        "ERROR", "serve", "500 id=7", "id-9",
    )  # fmt: skip
    assert "ValueError: a" in told["traceback"]
    assert told["time"].endswith("+00:00")
