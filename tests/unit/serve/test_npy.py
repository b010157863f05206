"""The `.npy` reader against numpy's own writer, and against headers that lie."""

import numpy as np
import pytest

from serve import npy
from serve.refusal import PayloadError
from tests import make


def header(text: str, body: bytes = b"") -> bytes:
    return npy.MAGIC + b"\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + body


@pytest.mark.parametrize("dtype", ["u1", "<f2", "<f4", "<f8", ">f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_reads_what_numpy_writes(dtype: str, order: str) -> None:
    array = np.arange(2 * 3 * 4 * 5).astype(dtype).reshape(2, 3, 4, 5)
    body = make.npy(np.asfortranarray(array) if order == "F" else array)

    np.testing.assert_array_equal(npy.read(body), array)


def test_what_is_written_numpy_reads() -> None:
    array = np.random.default_rng(0).random((3, 4)).astype(np.float32)

    np.testing.assert_array_equal(npy.read(npy.write(array)), array)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "no .npy", id="empty"),
        pytest.param(npy.MAGIC, "version", id="magic only"),
        pytest.param(npy.MAGIC + b"\x09\x00\x00\x00", "version", id="version 9"),
        pytest.param(npy.MAGIC + b"\x02\x00\xff\xff\xff\xff", "too long", id="header of 4 GB"),
        pytest.param(header("{}"), "descr", id="no fields"),
        pytest.param(make.npy(np.array([None])), "descr", id="objects"),
        pytest.param(make.npy(np.zeros(2, "f4,f4")), "descr", id="structure"),
        pytest.param(make.npy(np.zeros((1, 3, 2, 2), "i8")), "type '<i8'", id="integers"),
        pytest.param(make.npy(np.zeros((1, 1, 3, 2, 2))), "5 dimensions", id="dimensions"),
        pytest.param(
            header(
                "{'descr': '<f4', 'fortran_order': False, 'shape': (999999999, 3, 99999, 99999), }"
            ),
            "declares",
            id="more than follows",
        ),
        pytest.param(
            header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"cos\nsystem\n"),
            "not taken|descr",
            id="pickle",
        ),
    ],
)
def test_a_header_that_lies_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        npy.read(body)
