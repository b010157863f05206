"""Several mini-batches at a time in one compiled engine."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import make, serving


def test_streams_answer_side_by_side_what_one_answers_alone(tmp_path: Path) -> None:
    make.compiled_artifact(tmp_path / "model")
    photos = [make.photo(seed=seed) for seed in range(6)]
    many = json.dumps({"instances": [base64.b64encode(photo).decode() for photo in photos]})
    settings = {"ENGINE_STREAMS": "2", "ENGINE_THREADS": "2", "BATCH_IMAGES": "2"}
    with serving.running(tmp_path, tmp_path / "log", **settings) as server:
        engine = server.engine()
        alone = [server.invoke(photo).json()["predictions"][0] for photo in photos]
        with ThreadPoolExecutor(8) as clients:
            singles = [clients.submit(server.invoke, photo) for photo in photos * 8]
            large = [
                clients.submit(server.invoke, many.encode(), "application/json") for _ in range(4)
            ]
            one_by_one = [each.result().json()["predictions"][0] for each in singles]
            together = [each.result().json()["predictions"] for each in large]
        still = server.engine().pid
        log = server.log.read_text()

    assert still == engine.pid
    assert "2 batches at a time" in log
    assert [each["probability"] for each in one_by_one] == pytest.approx(
        [each["probability"] for each in alone] * 8, abs=1e-5
    )
    for answers in together:
        assert [each["probability"] for each in answers] == pytest.approx(
            [each["probability"] for each in alone], abs=1e-5
        )
