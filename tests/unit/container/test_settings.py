"""What the settings say together: deadlines, and how much is in hand at a time."""

import pytest

from container.failure import SettingError
from container.settings import Settings

TIMEOUT = "SAGEMAKER_MODEL_SERVER_TIMEOUT"


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        pytest.param({}, 55, id="an endpoint"),
        pytest.param({"SAGEMAKER_BATCH": "true"}, 3595, id="batch transform"),
        pytest.param({"SAGEMAKER_BATCH": "True"}, 3595, id="as the SDK's local mode writes it"),
        pytest.param({TIMEOUT: "900"}, 895, id="an asynchronous endpoint"),
        pytest.param({TIMEOUT: "600", "SAGEMAKER_BATCH": "true"}, 595, id="what is set counts"),
        pytest.param({TIMEOUT: "10"}, 9, id="a tenth before the end"),
    ],
)
def test_a_request_ends_a_little_before_its_caller_gives_it_up(environment, seconds):
    assert Settings.read(environment).deadline_seconds == seconds


def test_there_are_threads_for_what_is_worked_on_and_places_for_what_waits():
    planned = Settings.read({"BATCH_IMAGES": "8", "QUEUE_IMAGES": "256"})
    few = Settings.read({"HTTP_THREADS": "3", "QUEUE_IMAGES": "2"})

    assert 16 < planned.planned_http_threads <= 256
    assert planned.request_limit == 256
    assert (few.planned_http_threads, few.request_limit) == (3, 3)


def test_a_batch_that_is_neither_true_nor_false_is_refused():
    with pytest.raises(SettingError, match="SAGEMAKER_BATCH='maybe'"):
        Settings.read({"SAGEMAKER_BATCH": "maybe"})
