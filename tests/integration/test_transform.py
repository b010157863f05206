"""Batch transform: a real server with the platform's variable, and the local driver against it."""

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests
from PIL import Image

from local_test import batch_transform
from tests import make, serving
from tests.serving import ROOT, Server

PHOTOS = [make.photo(seed=seed) for seed in range(4)]
LINES = [json.dumps({"image": base64.b64encode(photo).decode()}).encode() for photo in PHOTOS]
BAD_LINES = [b"", b"{", b'{"image": "AAAA"}', b"[NaN]", b'{"image": null, "id": 7}']
MIB = 1 << 20
BODY_MIB = 100 if os.environ.get("SOAK") else 24


@pytest.fixture(scope="module")
def batch(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("batch") / "log"
    with serving.running(tiny_artifact, log, SAGEMAKER_BATCH="true", MAX_ITEMS="20") as ready:
        yield ready


def ask_lines(
    server: Server,
    lines: list[bytes],
    end: bytes = b"\n",
    accept: str | None = "application/jsonlines",
) -> requests.Response:
    return server.invoke(b"\n".join(lines) + end, "application/jsonlines", accept)


def test_a_job_is_told_what_the_engine_measured(batch: Server) -> None:
    answer = requests.get(f"{batch.url}/execution-parameters", timeout=10)

    assert answer.status_code == 200
    told = answer.json()
    assert told.keys() == {"MaxConcurrentTransforms", "BatchStrategy", "MaxPayloadInMB"}
    assert told["BatchStrategy"] == "MULTI_RECORD"
    assert told["MaxConcurrentTransforms"] >= 1
    assert told["MaxPayloadInMB"] >= 6
    assert told["MaxConcurrentTransforms"] * told["MaxPayloadInMB"] <= 100


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n\n"])
def test_every_line_in_is_a_line_out_in_its_order(batch: Server, end: bytes) -> None:
    """More lines than a request to an endpoint may have, the bad ones all over it."""
    lines = [LINES[place % 4] for place in range(101)]
    for number, place in enumerate(range(3, 101, 7)):
        lines[place] = BAD_LINES[number % len(BAD_LINES)]

    answer = ask_lines(batch, lines, end)

    assert answer.status_code == 200
    alone = [json.loads(ask_lines(batch, [line]).text)["label"] for line in LINES]
    entries = [json.loads(line) for line in answer.text.splitlines()]
    assert len(entries) == len(lines)
    for place, (line, entry) in enumerate(zip(lines, entries, strict=True)):
        if line in BAD_LINES:
            assert isinstance(entry["error"], str)
            assert entry["index"] == place
        else:
            assert entry["label"] == alone[place % 4]


@pytest.mark.parametrize("accept", ["", "*/*"])
def test_lines_are_answered_line_for_line_where_a_job_names_no_accept(
    batch: Server, accept: str | None
) -> None:
    answer = ask_lines(batch, [LINES[0], b"{", LINES[1]], accept=accept)

    assert answer.headers["Content-Type"] == "application/jsonlines"
    assert answer.text == ask_lines(batch, [LINES[0], b"{", LINES[1]]).text


@pytest.mark.parametrize(
    "accept",
    ["application/json", "application/json;verbose", "text/csv", "application/x-npy"],
)
def test_any_type_of_answer_is_whole_whatever_groups_it_was_made_in(
    batch: Server, accept: str
) -> None:
    lines = [LINES[place % 4] for place in range(37)]
    answer = ask_lines(batch, lines, accept=accept)
    labels = [json.loads(ask_lines(batch, [line]).text)["prediction"] for line in LINES]
    wanted = np.array([labels[place % 4] for place in range(37)], np.float32)

    if accept == "application/x-npy":
        assert np.array_equal(np.load(io.BytesIO(answer.content)), wanted)
    elif accept == "text/csv":
        assert np.array_equal(
            np.loadtxt(io.StringIO(answer.text), np.float32, delimiter=","), wanted
        )
    else:
        entries = answer.json()["predictions"]
        name = "probability" if accept == "application/json" else "probabilities"
        seen = np.array([each[name] for each in entries], np.float32)
        assert np.array_equal(seen, wanted.max(1) if seen.ndim == 1 else wanted)


def test_a_table_in_the_place_of_lines_takes_no_more_memory_than_its_answer(batch: Server) -> None:
    ask_lines(batch, [b"12,5"])
    worker = batch.worker()
    before = peak(worker)

    answer = ask_lines(batch, [b"12,5"] * 100_000)

    assert len(answer.text.splitlines()) == 100_000
    assert peak(worker) - before < 3 * len(answer.content) + 10 * MIB


@pytest.mark.parametrize("bad", BAD_LINES[1:])
def test_a_record_that_is_bad_alone_is_an_error_line_too(batch: Server, bad: bytes) -> None:
    answer = ask_lines(batch, [bad])

    assert answer.status_code == 200
    assert "error" in json.loads(answer.text)


def test_a_large_body_takes_little_more_memory_than_itself(batch: Server) -> None:
    line = json.dumps({"image": "A" * (MIB // 2), "id": 1}).encode()
    worker = batch.worker()
    ask_lines(batch, [line])
    before = peak(worker)

    pairs = BODY_MIB * MIB // (len(line) + len(LINES[0]) + 2)
    answer = ask_lines(batch, [line, LINES[0]] * pairs)

    assert answer.status_code == 200
    assert len(answer.text.splitlines()) == 2 * pairs
    assert peak(worker) - before < (1.5 * BODY_MIB + 40) * MIB


def test_memory_of_a_large_photo_is_returned_whichever_thread_decodes_it(batch: Server) -> None:
    photo = make.encode(Image.new("RGBA", (3000, 3000), (9, 9, 200, 99)), "PNG", compress_level=1)
    worker = batch.worker()
    batch.invoke(PHOTOS[0])
    before = worker.memory_info().rss

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: batch.invoke(photo), range(6)))

    assert [answer.status_code for answer in answers] == [200] * 6
    # one photo alone takes 78 MB while it is decoded
    assert worker.memory_info().rss - before < 40 * MIB


def peak(process: psutil.Process) -> int:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def drive(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            str(ROOT / "local_test/batch_transform.py"),
            *arguments,
            "--url",
            server.url,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_driver_writes_an_output_a_file_and_names_those_that_failed(
    batch: Server, tmp_path: Path
) -> None:
    for number in range(24):
        place = tmp_path / "photos" / ("deeper" if number % 2 else "") / f"{number:02}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(PHOTOS[number % 4])
    (tmp_path / "photos/notes.txt").write_text("no photo")
    (tmp_path / "photos/deeper/large.jpg").write_bytes(bytes(3 * MIB))

    done = drive(batch, f"{tmp_path}/photos", f"{tmp_path}/out", "--max-payload", "2")

    assert done.returncode == 1, done.stderr
    *failed, last = done.stdout.splitlines()
    assert last == f"24 of 26 files have an output in {tmp_path}/out"
    assert failed[0].startswith("failed: deeper/large.jpg: 3,145,728 bytes, and the payload")
    assert failed[1].startswith("failed: notes.txt: HTTP 400: ")
    outputs = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")}
    assert len(outputs) == 24
    assert "deeper/01.jpg.out" in outputs
    assert json.loads((tmp_path / "out/00.jpg.out").read_text())["label"] in make.LABELS
    assert "MaxPayloadInMB=2" in done.stderr
    assert "26/26" in done.stderr
    assert "2 failed" in done.stderr


@pytest.mark.parametrize("strategy", ["single-record", "multi-record"])
def test_the_driver_cuts_lines_and_joins_the_answers(
    batch: Server, tmp_path: Path, strategy: str
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jsonl").write_bytes(b"\n".join([*LINES, b"{", *LINES]))

    done = drive(
        batch, f"{tmp_path}/in", f"{tmp_path}/out", "--split", "line",
        "--strategy", strategy, "--content-type", "application/jsonlines",
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    entries = [json.loads(line) for line in (tmp_path / "out/a.jsonl.out").read_text().splitlines()]
    assert ["error" in entry for entry in entries] == [place == 4 for place in range(9)]


def test_what_no_job_may_have_is_refused(batch: Server, tmp_path: Path) -> None:
    done = drive(batch, str(tmp_path), str(tmp_path / "out"), "--max-payload", "60",
                 "--max-concurrent", "2")  # fmt: skip

    assert done.returncode == 2
    assert "more than 100 MB" in done.stderr


def test_a_server_that_is_gone_is_asked_again_and_then_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_bytes(PHOTOS[0])
    job = batch_transform.Job(
        data=tmp_path / "in", out=tmp_path / "out", address=("127.0.0.1", serving.free_port()),
        content_type="image/jpeg", accept="*/*", split_lines=False, multi_record=False,
        payload_bytes=MIB, concurrent=1, seconds=5,
    )  # fmt: skip
    monkeypatch.setattr(batch_transform, "RETRIES", 1)

    count, failed = batch_transform.run(job, io.StringIO())

    assert count == 1
    assert [each.name for each in failed] == ["a.jpg"]
    assert "ConnectionRefusedError" in failed[0].reason
    assert not (tmp_path / "out").exists()
