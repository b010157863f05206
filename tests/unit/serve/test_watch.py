"""Numbers by model: bounded in number, right in sum, told once."""

import json
from typing import Any

from container.settings import Settings
from serve import trace
from serve.record import Recorder
from serve.refusal import BusyError
from serve.watch import MOST_MODELS, OTHER, Watch


def ask(watch: Watch, model: str, status: int = 200, error: Exception | None = None) -> None:
    trace.begin()
    trace.asks(model)
    if error is not None:
        trace.refused(error)
    watch.finish(status)


def watching(**settings: Any) -> Watch:
    return Watch(Settings(**settings), lambda: [])


class Told:
    """What a recorder has written since the last look."""

    def __init__(self, watch: Watch) -> None:
        self.recorder = Recorder(watch, 60, lambda line: self.lines.append(json.loads(line)))
        self.lines = list[dict[str, Any]]()

    def now(self) -> dict[str, dict[str, Any]]:
        self.recorder.tell()
        told, self.lines[:] = list(self.lines), []
        assert len({each["Model"] for each in told}) == len(told)
        return {each["Model"]: each for each in told}


def test_thousands_of_models_keep_the_numbers_small_and_their_sum_right() -> None:
    watch = watching()
    for number in range(3 * MOST_MODELS):
        ask(watch, f"model-{number}")
    tallies = watch.tallies()

    assert len(tallies) <= MOST_MODELS + 1
    assert sum(tally.numbers().requests for tally in tallies.values()) == 3 * MOST_MODELS
    assert tallies[OTHER].numbers().requests >= 2 * MOST_MODELS - 1
    assert f"model-{3 * MOST_MODELS - 1}" in tallies


def test_numbers_that_move_to_the_others_are_not_told_again() -> None:
    watch = watching()
    told = Told(watch)
    for number in range(MOST_MODELS):
        ask(watch, f"model-{number}")
    first = told.now()
    ask(watch, "one more")
    second = told.now()
    third = told.now()

    assert sum(each["Requests"] for each in first.values()) == MOST_MODELS
    assert {name: each["Requests"] for name, each in second.items()} == {"one more": 1}
    assert third == {}


def test_a_record_has_what_came_since_the_last_one() -> None:
    watch = watching(metrics_namespace="Mine")
    told = Told(watch)
    ask(watch, "a")
    told.now()
    for _ in range(3):
        ask(watch, "a")
    ask(watch, "a", 503, BusyError("x"))
    ask(watch, "b", 404)
    now = told.now()

    assert {name: each["Requests"] for name, each in now.items()} == {"a": 4, "b": 1}
    assert (now["a"]["Errors5xx"], now["a"]["Errors4xx"], now["b"]["Errors4xx"]) == (1, 0, 1)
    assert now["a"]["Refusals"] == {"BusyError": 1}
    assert len(now["a"]["Latency"]) == 4
    assert now["a"]["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Mine"


def test_what_the_front_refuses_and_one_model_alone_share_a_name() -> None:
    watch = watching(model_name="dogs")
    ask(watch, "")
    watch.refused(BusyError("full"))

    assert watch.tallies()["dogs"].numbers().answers == {(200, ""): 1, (503, "BusyError"): 1}
