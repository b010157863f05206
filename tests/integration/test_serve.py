"""The server through its front door: what it takes, what it answers, what it refuses."""

import base64
import io
import json
import socket
from typing import Any

import numpy as np
import pytest
import requests

from artifact.preprocess import Preprocessing, pixels
from serve import payload
from tests import make
from tests.serving import Server

PHOTO = make.photo()
OTHER = make.photo(seed=1)
B64 = base64.b64encode(PHOTO).decode()
NORMALISED = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
MULTIPART = (
    b'--edge\r\nContent-Disposition: form-data; name="a"; filename="a.jpg"\r\n'
    b"Content-Type: image/jpeg\r\n\r\n" + PHOTO + b"\r\n--edge\r\n"
    b'Content-Disposition: form-data; name="b"\r\n\r\n' + OTHER + b"\r\n--edge--\r\n"
)


def bmp_of(width: int, height: int) -> bytes:
    stream = io.BytesIO(make.photo("BMP"))
    data = bytearray(stream.getvalue())
    data[18:26] = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "application/json",
        "application/json;verbose",
        "application/jsonlines",
        "text/csv",
        "application/x-npy",
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("body", "content_type", "items"),
    [
        pytest.param(PHOTO, "image/jpeg", 1, id="jpeg"),
        pytest.param(make.photo("PNG"), "image/png", 1, id="png"),
        pytest.param(make.photo("WEBP"), "image/webp", 1, id="webp"),
        pytest.param(make.photo("BMP"), "image/bmp", 1, id="bmp"),
        pytest.param(make.photo("TIFF"), "image/tiff", 1, id="tiff"),
        pytest.param(make.photo("PNG"), "image/jpeg; q=1", 1, id="png called jpeg"),
        pytest.param(PHOTO, "application/x-image", 1, id="x-image"),
        pytest.param(PHOTO, "application/octet-stream", 1, id="octet-stream"),
        pytest.param(PHOTO, None, 1, id="no type"),
        pytest.param(PHOTO, "application/x-www-form-urlencoded", 1, id="curl's default"),
        pytest.param(make.npy(NORMALISED), "application/x-npy", 2, id="npy float"),
        pytest.param(make.npy(NORMALISED), None, 2, id="npy without a type"),
        pytest.param(
            make.npy(np.zeros((1, 3, 244, 244))), "application/x-npy", 1, id="npy 244 x 244"
        ),
        pytest.param(
            make.npy(np.asarray(make.picture())), "application/octet-stream", 1, id="npy pixels"
        ),
        pytest.param(
            make.npy(np.zeros((3, 40, 60, 3), np.uint8)), "application/x-npy", 3, id="npy N pixels"
        ),
        pytest.param(json.dumps({"image": B64}), "application/json", 1, id="json base64"),
        pytest.param(
            json.dumps({"image": f"data:image/jpeg;base64,{B64}"}),
            "application/json; charset=utf-8",
            1,
            id="json data URI",
        ),
        pytest.param(
            json.dumps({"instances": [{"image": B64}, B64, NORMALISED[0].tolist()]}),
            "application/json",
            3,
            id="json instances",
        ),
        pytest.param(
            f'{json.dumps({"image": B64})}\n\n"{B64}"\n', "application/jsonlines", 2, id="jsonlines"
        ),
        pytest.param(MULTIPART, "multipart/form-data; boundary=edge", 2, id="multipart"),
    ],
)
def test_every_content_type_is_answered_in_every_accepted_type(
    server: Server,
    body: bytes | str,
    content_type: str | None,
    items: int,
    accept: str | None,
) -> None:
    data = body.encode() if isinstance(body, str) else body
    answer = server.invoke(data, content_type, accept)

    assert answer.status_code == 200, answer.text
    if accept is None and content_type == "application/jsonlines":
        accept = content_type  # lines are answered line for line
    vectors = read_vectors(answer, accept)
    if vectors is None:
        predictions = answer.json()["predictions"]
        assert len(predictions) == items
        assert all(len(each["top_k"]) == 3 for each in predictions)
        assert all(each["top_k"][0]["label"] == each["label"] for each in predictions)
        vectors = [sum(top["probability"] for top in each["top_k"]) for each in predictions]
        np.testing.assert_allclose(vectors, 1, atol=1e-3)
        return
    assert np.shape(vectors) == (items, 3)
    np.testing.assert_allclose(np.sum(vectors, axis=1), 1, atol=1e-3)


def read_vectors(answer: requests.Response, accept: str | None) -> Any:
    if accept == "application/json;verbose":
        value = answer.json()
        entries = value.get("predictions", [value])
        assert all(entry["labels"] == make.LABELS for entry in entries)
        assert all(entry["predicted_label"] in make.LABELS for entry in entries)
        return [entry["probabilities"] for entry in entries]
    if accept == "application/jsonlines":
        entries = [json.loads(line) for line in answer.text.splitlines()]
        assert all(entry["label"] in make.LABELS for entry in entries)
        return [entry["prediction"] for entry in entries]
    if accept == "text/csv":
        return [[float(cell) for cell in line.split(",")] for line in answer.text.splitlines()]
    if accept == "application/x-npy":
        return np.load(io.BytesIO(answer.content))
    return None


def test_every_way_of_sending_a_photo_gives_the_same_answer(server: Server) -> None:
    rules = payload.Rules(Preprocessing.for_size(32), 10**6, 10)
    normalised = (pixels(PHOTO, rules.preprocessing) / 255.0 - rules.preprocessing.mean) / (
        rules.preprocessing.std
    )
    planes = normalised.transpose(2, 0, 1)
    ways = [
        server.invoke(PHOTO),
        server.invoke(json.dumps({"image": B64}).encode(), "application/json"),
        server.invoke(MULTIPART, "multipart/form-data; boundary=edge"),
        server.invoke(make.npy(planes[None]), "application/x-npy"),
        server.invoke(json.dumps({"instances": [planes.tolist()]}).encode(), "application/json"),
    ]

    rows = [
        [top["probability"] for top in sorted(p["top_k"], key=lambda top: top["index"])]
        for p in (way.json()["predictions"][0] for way in ways)
    ]

    for row in rows[1:]:
        np.testing.assert_allclose(row, rows[0], atol=0.02)


@pytest.mark.parametrize(
    ("accept", "status", "content_type"),
    [
        pytest.param("", 200, "application/json", id="empty"),
        pytest.param("*/*", 200, "application/json", id="anything"),
        pytest.param("text/html, */*;q=0.1", 200, "application/json", id="a list with anything"),
        pytest.param("text/csv;q=0.3, application/x-npy;q=0.9", 200, "application/x-npy", id="q"),
        pytest.param("text/*", 200, "text/csv; charset=utf-8", id="any text"),
        pytest.param("application/json; charset=utf-8", 200, "application/json", id="a charset"),
        pytest.param("text/html", 406, "application/json", id="unknown"),
        pytest.param("application/json;q=0", 406, "application/json", id="refused"),
    ],
)
def test_accept_rules(server: Server, accept: str, status: int, content_type: str) -> None:
    answer = server.invoke(PHOTO, accept=accept)

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == content_type
    if status == 406:
        assert "application/jsonlines" in answer.json()["offered"]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "message"),
    [
        pytest.param(b"", "image/jpeg", 400, "0 bytes", id="empty body"),
        pytest.param(b"GIF89a" + bytes(30), "image/jpeg", 400, "none of JPEG", id="gif"),
        pytest.param(PHOTO[:300], "image/jpeg", 400, "damaged", id="truncated"),
        pytest.param(PHOTO, "image/gif", 415, "image/jpeg", id="a type not taken"),
        pytest.param(PHOTO, "text/csv", 415, "'text/csv'", id="csv"),
        pytest.param(b"{", "application/json", 400, "not JSON", id="bad json"),
        pytest.param(b"[]", "application/json", 400, "instances", id="json list"),
        pytest.param(b"[" * 200_000, "application/json", 400, "deep", id="deep json"),
        pytest.param(b'{"image": "%%"}', "application/json", 400, "base64", id="no base64"),
        pytest.param(b'{"image": 3}', "application/json", 400, "type int", id="no image"),
        pytest.param(b'{"url": "http://x"}', "application/json", 400, "not fetched", id="url"),
        pytest.param(b'{"instances": []}', "application/json", 400, "0 items", id="no items"),
        pytest.param(b'{"image": [[[NaN]]]}', "application/json", 400, "NaN", id="nan"),
        pytest.param(
            b'{"image": [[[1e999]],[[1]],[[1]]]}', "application/json", 400, "infinite", id="inf"
        ),
        pytest.param(
            b'{"image": [[[1, 2]],[[1]],[[1]]]}', "application/json", 400, "lengths", id="ragged"
        ),
        pytest.param(
            b'{"image": [[["1"]],[["1"]],[["1"]]]}', "application/json", 400, "numbers", id="texts"
        ),
        pytest.param(
            b'{"image": [[[1%s]],[[1]],[[1]]]}' % (b"0" * 400),
            "application/json",
            400,
            "too large",
            id="huge int",
        ),
        pytest.param(b"9" * 5000, "application/json", 400, "JSON", id="int of 5,000 digits"),
        pytest.param(b"x", "multipart/form-data", 400, "boundary", id="no boundary"),
        pytest.param(MULTIPART[:900], "multipart/form-data; boundary=edge", 400, "", id="cut"),
        pytest.param(b"abc", "application/x-npy", 400, "no .npy", id="no npy"),
        pytest.param(make.npy(NORMALISED)[:-1], "application/x-npy", 400, "declares", id="short"),
        pytest.param(
            make.npy(np.array([{}], object)), "application/x-npy", 400, "descr", id="pickled npy"
        ),
        pytest.param(
            make.npy(np.zeros((4, 5), np.float32)), "application/x-npy", 400, "shape", id="shape"
        ),
        pytest.param(
            make.npy(np.full((1, 3, 8, 8), np.nan)), "application/x-npy", 400, "", id="npy nan"
        ),
        pytest.param(
            make.npy(np.full((1, 3, 32, 32), 3e38)), "application/x-npy", 400, "large", id="3e38"
        ),
        pytest.param(
            make.npy(np.zeros((0, 3, 8, 8))), "application/x-npy", 400, "0 items", id="npy of none"
        ),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(
    server: Server, body: bytes, content_type: str, status: int, message: str
) -> None:
    answer = server.invoke(body, content_type)

    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"]


def test_an_unsupported_type_names_a_command_that_works(server: Server) -> None:
    answer = server.invoke(PHOTO, "video/mp4")

    assert "--data-binary" in answer.json()["example"]
    assert "application/x-npy" in answer.json()["accepted"]


@pytest.mark.parametrize(
    ("body", "content_type", "limit", "received"),
    [
        pytest.param(bytes(2**21 + 1), "image/jpeg", 2**21, 2**21 + 1, id="bytes"),
        pytest.param(
            make.encode(make.picture(1001, 1000), "PNG"), "image/png", 10**6, 1_001_000, id="pixels"
        ),
        pytest.param(bmp_of(60_000, 60_000), None, 10**6, 3_600_000_000, id="bomb"),
        pytest.param(b'{"instances": [%s1]}' % (b"1," * 20), "application/json", 20, 21, id="json"),
        pytest.param(b"1\n" * 21, "application/jsonlines", 20, 21, id="lines"),
        pytest.param(
            make.npy(np.zeros((21, 3, 2, 2))), "application/x-npy", 20, 21, id="npy items"
        ),
        pytest.param(
            b'--e\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n' * 21 + b"--e--\r\n",
            "multipart/form-data; boundary=e",
            20,
            21,
            id="parts",
        ),
    ],
)
def test_more_than_a_limit_is_413_with_the_limit_and_what_was_received(
    server: Server, body: bytes, content_type: str | None, limit: int, received: int
) -> None:
    answer = server.invoke(body, content_type)

    assert answer.status_code == 413, answer.text
    assert (answer.json()["limit"], answer.json()["received"]) == (limit, received)


def test_a_chunked_body_is_bounded_too(server: Server) -> None:
    chunks = (bytes(2**16) for _ in range(40))
    answer = requests.post(f"{server.url}/invocations", data=chunks, timeout=30)

    assert answer.status_code == 413
    assert answer.json()["limit"] == 2**21


def test_a_chunked_photo_is_answered(server: Server) -> None:
    chunks = iter([PHOTO[:100], PHOTO[100:]])
    answer = requests.post(f"{server.url}/invocations", data=chunks, timeout=30)

    assert answer.status_code == 200


def test_a_bad_item_among_several_fails_alone_and_ids_come_back(server: Server) -> None:
    instances = [{"image": B64, "id": "first"}, {"image": "", "id": 7}, {"image": B64}]
    answer = server.invoke(json.dumps({"instances": instances}).encode(), "application/json")

    first, second, third = answer.json()["predictions"]
    assert answer.status_code == 200
    assert first["id"] == "first"
    assert (second["id"], second["index"]) == (7, 1)
    assert "0 bytes" in second["error"]
    assert third["top_k"] == first["top_k"]


def test_rows_of_numbers_stay_in_step_with_failed_items(server: Server) -> None:
    instances = json.dumps({"instances": ["", B64]}).encode()
    answer = server.invoke(instances, "application/json", "text/csv")

    first, second = answer.text.splitlines()
    assert first == "nan,nan,nan"
    assert "nan" not in second


def test_when_every_item_fails_the_request_fails_with_every_reason(server: Server) -> None:
    answer = server.invoke(b'{"instances": ["", 5]}', "application/json")

    assert answer.status_code == 400
    assert [each["index"] for each in answer.json()["errors"]] == [0, 1]


@pytest.mark.parametrize(
    ("query", "attributes", "status", "count"),
    [
        pytest.param("?top_k=2", "", 200, 2, id="query"),
        pytest.param("", "trace=9, top_k=1", 200, 1, id="attributes"),
        pytest.param("?top_k=1", "top_k=2", 200, 1, id="the query counts"),
        pytest.param("?top_k=99", "", 200, 3, id="more than there are"),
        pytest.param("?top_k=0", "", 400, 0, id="zero"),
        pytest.param("?top_k=%C2%B2", "", 400, 0, id="a digit that is none"),
        pytest.param("", "9f1c-no-number", 200, 3, id="attributes of another meaning"),
    ],
)
def test_top_k(server: Server, query: str, attributes: str, status: int, count: int) -> None:
    given = {"X_Amzn_SageMaker_Custom_Attributes": attributes} if attributes else {}
    answer = server.invoke(PHOTO, query=query, **given)

    assert answer.status_code == status
    if status == 200:
        assert len(answer.json()["predictions"][0]["top_k"]) == count


def test_custom_attributes_and_inference_id_come_back_even_with_an_error(server: Server) -> None:
    answer = server.invoke(
        b"", X_Amzn_SageMaker_Custom_Attributes="a=1", X_Amzn_SageMaker_Inference_Id="42"
    )

    assert answer.status_code == 400
    assert answer.headers["X-Amzn-SageMaker-Custom-Attributes"] == "a=1"
    assert answer.headers["X-Amzn-SageMaker-Inference-Id"] == "42"


def test_metrics_that_are_off_and_unknown_paths_are_quiet_404s_in_json(server: Server) -> None:
    before = server.log.read_text()
    answers = [requests.get(f"{server.url}/{path}", timeout=5) for path in ("metrics", "", "x/y")]

    assert [answer.status_code for answer in answers] == [404] * 3
    assert all("error" in answer.json() for answer in answers)
    assert requests.get(f"{server.url}/invocations", timeout=5).status_code == 405
    assert server.log.read_text() == before


def test_ping_is_answered_to_get_and_post_and_not_logged(server: Server) -> None:
    before = server.log.read_text()
    answers = [requests.request(verb, f"{server.url}/ping", timeout=2) for verb in ("GET", "POST")]

    assert [answer.json()["state"] for answer in answers] == ["ready", "ready"]
    assert set(answers[0].json()) == {"state", "since", "reason", "progress"}
    assert server.log.read_text() == before


def test_the_http_process_never_loads_torch_and_the_engine_has_its_name(server: Server) -> None:
    with open(f"/proc/{server.worker().pid}/maps") as file:
        libraries = file.read()

    assert "libtorch" not in libraries
    assert server.engine().name() == "engine"


def test_a_body_in_bad_chunks_is_400(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc"
        )
        answer = sock.recv(4096)

    assert b" 400 " in answer.splitlines()[0]
