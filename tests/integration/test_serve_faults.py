"""A photo that breaks the network, a device that breaks, a leak: who gets the error."""

import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from tests import faults, make, serving
from tests.load import Load
from tests.serving import ROOT, Server

WHITE = make.encode(Image.new("RGB", (40, 40), "white"), "PNG")
BLACK = make.encode(Image.new("RGB", (40, 40), (2, 2, 2)), "PNG")


@pytest.fixture(scope="module")
def breakable(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("breakable")
    path = f"{faults.plant(folder / 'planted', faults.GUILTY)}:{ROOT}"
    with serving.running(tiny_artifact, folder / "log", PYTHONPATH=path) as ready:
        yield ready


def test_one_photo_that_breaks_the_network_fails_alone_among_those_of_its_request(
    breakable: Server,
) -> None:
    engine = breakable.engine()
    photos = [make.photo(seed=seed) for seed in range(11)]
    photos[5] = WHITE
    body = json.dumps({"instances": [base64.b64encode(photo).decode() for photo in photos]})
    answer = breakable.invoke(body.encode(), "application/json")
    alone = breakable.invoke(WHITE)
    after = breakable.invoke(photos[0])

    assert answer.status_code == 200
    items = answer.json()["predictions"]
    assert [place for place, item in enumerate(items) if "error" in item] == [5]
    assert "a white photo" in items[5]["error"]
    assert items[0]["label"] == after.json()["predictions"][0]["label"]
    assert (alone.status_code, after.status_code) == (400, 200)
    assert "cannot classify this photo" in alone.json()["error"]
    assert breakable.engine().pid == engine.pid


def test_of_requests_that_share_a_batch_only_the_guilty_ones_fail(breakable: Server) -> None:
    engine = breakable.engine()
    photos = [WHITE if place % 7 == 3 else make.photo(seed=place) for place in range(28)]
    with ThreadPoolExecutor(14) as clients:
        statuses = [answer.status_code for answer in clients.map(breakable.invoke, photos)]

    assert statuses == [400 if photo is WHITE else 200 for photo in photos]
    assert breakable.engine().pid == engine.pid


def test_an_error_of_the_device_costs_the_engine_and_is_never_taken_for_the_photos(
    breakable: Server,
) -> None:
    engine = breakable.engine()
    answer = breakable.invoke(BLACK)
    breakable.wait(200)
    after = breakable.invoke(make.photo())

    assert answer.status_code == 503
    assert "device-side assert" in answer.json()["error"]
    assert after.status_code == 200
    assert serving.gone(engine)


def test_a_leaking_engine_is_replaced_again_and_again_and_no_request_fails(
    tiny_artifact: Path, tmp_path: Path
) -> None:
    path = f"{faults.plant(tmp_path / 'planted', faults.LEAK, LEAK_BYTES=300_000)}:{ROOT}"
    # less than it has at its start, so that all it may do is grow by the least that counts
    limit = {"PYTHONPATH": path, "ENGINE_MEMORY_MIB": "1"}
    with serving.running(tiny_artifact, tmp_path / "log", **limit) as server:
        engines, load = [server.engine()], Load(server)
        deadline = time.monotonic() + 60
        while len(engines) < 3 and time.monotonic() < deadline:
            pids = {engine.pid for engine in engines}
            engines += [each for each in server.worker().children() if each.pid not in pids]
            time.sleep(0.05)
        while len(load.statuses) < 20 or load.statuses[-1] != 200:
            time.sleep(0.1)
        load.stop()
        alive = server.worker().children()

    assert len(engines) >= 3
    assert set(load.statuses) == {200}
    assert len(alive) <= 2
    assert serving.gone(engines[0])
    assert "a new one is started beside it" in server.log.read_text()
    assert "not ready" not in server.log.read_text()
