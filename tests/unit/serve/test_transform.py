"""What a batch job is told, from what the engines measured."""

from dataclasses import dataclass

import pytest

from artifact.preprocess import Preprocessing
from container.settings import Settings
from serve import payload, transform
from serve.plan import decoding_places
from serve.refusal import BusyError, TooLargeError

RULES = Preprocessing.for_size(32)


@dataclass
class Engine:
    batch_seconds: float | None


@pytest.mark.parametrize(
    ("seconds", "threads", "concurrent"),
    [
        pytest.param([0.02], 0, 16, id="as many photos as the payload leaves room for"),
        pytest.param([0.02], 5, 5, id="as many as there are threads"),
        pytest.param([0.8], 0, 5, id="ten a second: those on their way and those in hand"),
        pytest.param([8.0], 0, 3, id="a slow engine has use for few, and large photos for room"),
        pytest.param([8.0, 8.0], 0, 5, id="two of them for more"),
        pytest.param([240.0], 0, 2, id="no more than are answered in a minute"),
        pytest.param([2000.0], 0, 1, id="one at least"),
        pytest.param([None, 0.02], 0, 16, id="one of two is warm"),
    ],
)
def test_concurrency_follows_what_was_measured(
    seconds: list[float | None], threads: int, concurrent: int
) -> None:
    settings = Settings(http_threads=threads, batch_images=8)

    told = transform.parameters(settings, [Engine(each) for each in seconds])

    assert told["MaxConcurrentTransforms"] == concurrent
    assert told["MaxPayloadInMB"] == 100 // concurrent


def test_nothing_is_told_before_an_engine_is_warm() -> None:
    with pytest.raises(BusyError):
        transform.parameters(Settings(), [Engine(None)])


def test_a_batch_job_may_send_100_mb_whatever_an_endpoint_may() -> None:
    assert Settings.read({}).max_payload_bytes == 25 << 20
    assert Settings.read({"SAGEMAKER_BATCH": "true"}).max_payload_bytes == 100 << 20


def test_a_body_of_more_lines_than_could_be_held_is_refused_before_the_first_is_read() -> None:
    rules = payload.Rules(RULES, 1000, 4, lines_at_a_time=3)

    with pytest.raises(TooLargeError, match="200,001 lines in one body; the limit is 200,000"):
        next(payload.pieces(b"1\n" * 200_001, "application/jsonlines", rules))


@pytest.mark.parametrize("count", [2, 3, 4, 7])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n\n"])
def test_lines_are_read_in_groups_and_none_is_lost(count: int, end: bytes) -> None:
    lines = [b'{"image": "AAAA", "id": %d}' % number for number in range(count)]
    lines.insert(1, b"")
    rules = payload.Rules(RULES, 1000, 4, lines_at_a_time=3)
    body = b"\n".join(lines) + end

    groups = [read().items for read in payload.pieces(body, "application/jsonlines", rules)]

    assert [len(group) for group in groups[:-1]] == [3] * (len(groups) - 1)
    identities = [item.id for group in groups for item in group]
    assert identities == [0, None, *range(1, count)]


@pytest.mark.parametrize(
    ("memory", "places"),
    [
        pytest.param(None, 4, id="no limit"),
        pytest.param(16 << 30, 4, id="more than enough"),
        pytest.param(2 << 30, 2, id="two gigabytes"),
        pytest.param(1 << 30, 1, id="the smallest serverless endpoint"),
        pytest.param(100 << 20, 1, id="one at least"),
    ],
)
def test_photos_that_are_decoded_at_a_time_fit_the_memory(memory: int | None, places: int) -> None:
    assert decoding_places(4, 50_000_000, memory) == places
