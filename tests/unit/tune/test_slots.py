"""How many trials run side by side."""

import pytest

from tune.slots import slots

GIB = 1 << 30


@pytest.mark.parametrize(
    ("asked", "peak", "processors", "gpus", "free", "count"),
    [
        (8, GIB, 2, 0, 100 * GIB, 1),  # one trial uses both processors
        (8, GIB, 16, 0, 100 * GIB, 8),
        (3, GIB, 16, 0, 100 * GIB, 3),
        (8, 10 * GIB, 16, 0, 40 * GIB, 3),  # memory for three and a quarter
        (8, 100 * GIB, 16, 0, 40 * GIB, 1),
        (8, GIB, 16, 4, 100 * GIB, 4),
        (8, 0, 16, 0, GIB, 8),  # nobody knows what one takes
    ],
)
def test_processors_memory_gpus_and_the_request_bound_it(
    asked, peak, processors, gpus, free, count
):
    assert len(slots(asked, peak, processors, "0123"[:gpus], free)) == count


def test_each_of_several_has_its_share_of_threads_and_a_gpu():
    places = slots(2, GIB, 16, ["2", "3"], 100 * GIB)

    assert [place["CUDA_VISIBLE_DEVICES"] for place in places] == ["2", "3"]
    assert all(place["OMP_NUM_THREADS"] == "8" for place in places)


def test_one_alone_has_everything():
    assert slots(1, GIB, 16, ["0", "1"], 100 * GIB) == [{}]
