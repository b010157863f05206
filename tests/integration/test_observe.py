"""What can be seen of a running server from outside: /metrics, the minute's record, log, times."""

import json
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests import make, serving
from tests.serving import Server

PHOTO = make.photo()
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
STAGES = ["read", "decode", "queue", "engine", "encode"]


@pytest.fixture(scope="module")
def observed(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("observed") / "log"
    settings = {"METRICS_RECORD_SECONDS": "1", "LOG_FORMAT": "json", "MODEL_NAME": 'dogs "v3"'}
    settings |= {"CAPTURE_FOLDER": str(log.parent / "Kept"), "CAPTURE_PERCENT": "100"}
    with serving.running(tiny_artifact, log, **settings) as ready:
        yield ready


def scrape(server: Server) -> dict[tuple[str, ...], float]:
    """(name, label values in the order of the labels' names...) -> value."""
    answer = requests.get(f"{server.url}/metrics", timeout=10)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return {
        (
            sample.name.removeprefix("image_classification_"),
            *(value for _, value in sorted(sample.labels.items())),
        ): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def lines(server: Server, key: str) -> list[dict[str, Any]]:
    """The lines of the log that are objects with this key."""
    written = server.log.read_text().splitlines()
    found = (json.loads(line) for line in written if line.startswith("{"))
    return [each for each in found if key in each]


def several() -> bytes:
    return make.npy(np.zeros((3, 32, 32, 3), np.uint8))


def test_a_scrape_tells_what_was_asked_and_where_the_time_went(observed: Server) -> None:
    before = scrape(observed)
    for _ in range(4):
        observed.invoke(PHOTO)
    observed.invoke(several(), "application/x-npy")
    observed.invoke(b"no photo")
    observed.invoke(PHOTO, "video/mp4")
    after = scrape(observed)
    for _ in range(50):
        observed.invoke(PHOTO)
    later = scrape(observed)

    def rise(*key: str) -> float:
        return after[key] - before.get(key, 0)

    def between(*key: str) -> float:
        return later[key] - after[key]

    model = 'dogs "v3"'
    assert rise("requests_total", model, "", "200") == 5
    assert rise("requests_total", model, "PayloadError", "400") == 1
    assert rise("requests_total", model, "ContentTypeError", "415") == 1
    assert rise("images_total", model) == 7
    assert rise("batch_images_sum", model) == 7
    assert rise("batch_images_count", model) == 5
    assert rise("request_seconds_count", model) == 7
    assert [rise("stage_seconds_count", model, stage) for stage in STAGES] == [
        6,
        6,
        6,
        5,
        5,
    ]  # a queue for threads, too
    spent = sum(between("stage_seconds_sum", model, stage) for stage in STAGES)
    # of many that were answered: what lies between the stages is a small part of the whole
    whole = between("request_seconds_sum", model)
    assert 0.5 * whole < spent <= whole
    assert after["request_seconds_bucket", "+Inf", model] == after["request_seconds_count", model]
    buckets = [value for key, value in after.items() if key[0] == "request_seconds_bucket"]
    assert buckets == sorted(buckets)


def test_a_scrape_tells_what_is_served_and_how_it_stands(observed: Server) -> None:
    answer = requests.get(f"{observed.url}/metrics", timeout=10)
    families = {each.name: each for each in text_string_to_metric_families(answer.text)}
    now = scrape(observed)
    (described,) = families["image_classification_model_info"].samples

    assert described.labels["network"] == "small_cnn"
    assert described.labels["labels"] == "3"
    assert described.labels["engine"]
    assert re.fullmatch("[0-9a-f]{12}", described.labels["weights"])
    assert now["ready", 'dogs "v3"'] == 1
    assert now["queue_images", 'dogs "v3"'] == 0
    for process in (observed.worker(), observed.engine()):
        label = ("", "http") if process == observed.worker() else ('dogs "v3"', "engine")
        told = now["resident_memory_bytes", *label]
        assert told == pytest.approx(process.memory_info().rss, rel=0.2)
    assert all(family.documentation for family in families.values())
    assert not [name for name in families if not name.startswith("image_classification_")]


def test_what_is_refused_before_it_is_whole_is_counted_too(observed: Server) -> None:
    before = scrape(observed)
    with socket.create_connection(("127.0.0.1", observed.port), timeout=10) as sock:
        sock.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")
        answer = sock.recv(4096)
    key = ("requests_total", 'dogs "v3"', "TooLargeError", "413")

    assert b" 413 " in answer.splitlines()[0]
    assert scrape(observed)[key] - before.get(key, 0) == 1


def test_openmetrics_is_spoken_to_those_who_ask_for_it(observed: Server) -> None:
    accept = "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;q=0.1"
    answer = requests.get(f"{observed.url}/metrics", headers={"Accept": accept}, timeout=10)

    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_the_records_tell_every_request_once_and_silence_is_silent(observed: Server) -> None:
    asked = sum(value for key, value in scrape(observed).items() if key[0] == "requests_total")

    def recorded() -> int:
        return sum(each["Requests"] for each in lines(observed, "_aws"))

    serving.until(lambda: recorded() >= asked)  # what other tests asked is told
    told, start = len(lines(observed, "_aws")), time.monotonic()
    answers = [observed.invoke(PHOTO) for _ in range(3)] + [observed.invoke(b"x")]
    took = time.monotonic() - start
    serving.until(lambda: recorded() >= asked + 4)
    time.sleep(1.5)
    records = lines(observed, "_aws")[told:]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 400]
    assert 1 <= len(records) <= 2 + int(took)  # one a second
    assert sum(each["Requests"] for each in records) == 4
    assert sum(each["Errors4xx"] for each in records) == 1
    assert sum(len(each["Latency"]) for each in records) == 4
    for each in records:
        (directive,) = each["_aws"]["CloudWatchMetrics"]
        assert abs(each["_aws"]["Timestamp"] / 1000 - time.time()) < 60
        assert directive["Namespace"] == "ImageClassification"
        # every dimension and metric that is announced is there, as a text and as numbers
        assert all(isinstance(each[name], str) for name in directive["Dimensions"][0])
        for metric in directive["Metrics"]:
            values = each[metric["Name"]]
            values = values if isinstance(values, list) else [values]
            assert 1 <= len(values) <= 100
            assert all(isinstance(value, int | float) for value in values)


def test_a_photo_that_the_model_is_not_sure_of_is_kept_as_it_was_sent(observed: Server) -> None:
    folder = observed.log.parent / "Kept"
    body = make.photo("WEBP", seed=77)
    answer = observed.invoke(body, "image/webp", X_Amzn_SageMaker_Inference_Id="../id")
    deadline = time.monotonic() + 10
    while not (found := [each for each in facts(folder) if each["inference_id"] == "../id"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (told,) = found

    assert (folder / told["photo"]).read_bytes() == body
    assert re.fullmatch(r"\d{8}T\d{6}-\d+-\d{6}\.webp", told["photo"])
    (prediction,) = answer.json()["predictions"]
    assert told["top_k"][0]["label"] == prediction["label"]
    assert told["top_k"][0]["probability"] == pytest.approx(prediction["probability"], abs=1e-6)
    assert scrape(observed)["captured_photos_total", "written"] == len(facts(folder))


def facts(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


@pytest.mark.parametrize("way", ["query", "attributes"])
def test_times_are_told_to_those_who_ask(observed: Server, way: str) -> None:
    plain = observed.invoke(PHOTO)
    if way == "query":
        answer = observed.invoke(PHOTO, query="?timing=true")
    else:
        answer = observed.invoke(PHOTO, X_Amzn_SageMaker_Custom_Attributes="trace=9,timing=true")
    told = dict(part.split(";dur=") for part in answer.headers["Server-Timing"].split(", "))

    assert "Server-Timing" not in plain.headers
    assert list(told) == [*STAGES, "total"]
    assert sum(float(told[stage]) for stage in STAGES) <= float(told["total"]) + 0.1
    if way == "attributes":
        said = answer.headers[ATTRIBUTES]
        assert said == f"trace=9,timing=true; server-timing=({answer.headers['Server-Timing']})"


def test_a_change_of_ping_is_one_line_and_a_refused_request_is_found_by_its_id(
    observed: Server,
) -> None:
    observed.engine().kill()
    observed.wait(503, 5)
    refused = observed.invoke(PHOTO, X_Amzn_SageMaker_Inference_Id="mine-77")
    for _ in range(5):
        observed.ping()
    observed.wait(200)
    told = [each["message"] for each in lines(observed, "message")]
    pings = [message for message in told if message.startswith("ping: ")]
    (line,) = [each for each in lines(observed, "inference_id") if "503" in each["message"]]

    assert refused.status_code == 503
    assert line["inference_id"] == "mine-77"
    assert refused.json()["id"] in line["message"]
    assert pings[-1] == "ping: ready"
    assert pings == [each for at, each in enumerate(pings) if at == 0 or pings[at - 1] != each]
    assert "died with SIGKILL" in pings[-3] + pings[-2]
    assert scrape(observed)["engine_restarts_total", 'dogs "v3"'] == 1
    assert scrape(observed)["requests_total", 'dogs "v3"', "BusyError", "503"] == 1


def test_each_of_many_models_has_its_own_numbers_and_the_end_is_told(
    tiny_artifact: Path, tmp_path: Path
) -> None:
    for name in ("cats", "dogs"):
        shutil.copytree(tiny_artifact / "model", tmp_path / "models" / name / "model")
    log = tmp_path / "log"
    settings = {"SAGEMAKER_MULTI_MODEL": "true", "METRICS_RECORD_SECONDS": "3600"}
    with serving.running(tmp_path, log, **settings) as server:
        for name in ("cats", "dogs"):
            order = {"model_name": name, "url": str(tmp_path / "models" / name / "model")}
            assert requests.post(f"{server.url}/models", json=order, timeout=60).ok
        statuses = [
            requests.post(f"{server.url}/models/{name}/invoke", PHOTO, timeout=60).status_code
            for name in ("cats", "dogs", "dogs", "birds")
        ]
        both = scrape(server)
        requests.delete(f"{server.url}/models/cats", timeout=60)
        one = scrape(server)
        server.stop()
    told = {each["Model"]: each for each in lines(server, "_aws")}

    assert statuses == [200, 200, 200, 404]
    assert both["requests_total", "cats", "", "200"] == 1
    assert both["requests_total", "dogs", "", "200"] == 2
    assert both["requests_total", "model", "MissingError", "404"] == 1
    assert both["resident_memory_bytes", "cats", "engine"] > 10_000_000
    assert ("ready", "cats") in both
    assert ("ready", "cats") not in one
    assert one["requests_total", "cats", "", "200"] == 1  # what was counted stays
    assert {name: each["Requests"] for name, each in told.items()} == {
        "cats": 1, "dogs": 2, "model": 1,
    }  # fmt: skip
