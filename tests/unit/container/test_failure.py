"""Reasons: the answer first, never above what the platform shows."""

import errno

import pytest

from container import failure, resources, supervisor

GIB = 1 << 30


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/opt/ml/model/x"), "disk-full"),
        (OSError(errno.EROFS, "Read-only file system", "/opt/ml/model"), "permission"),
        (PermissionError(errno.EACCES, "Permission denied", "/opt/ml/output"), "permission"),
        (MemoryError(), "host-memory"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible "
                      "that dataloader's workers are out of shared memory."), "shared-memory"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "host-memory"),
        (RuntimeError("unable to write to file </torch_12_34>: No space left on device (28)"),
         "shared-memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "host-memory"),
        (RuntimeError("Exception from allocator.cpp:79:\nstd::bad_alloc"), "host-memory"),
        (RuntimeError("Failed to allocate 333971456 bytes of memory"), "host-memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "gpu-memory"),
        (RuntimeError("CUDA error: no kernel image is available for execution"), "device"),
        (RuntimeError("Error: I/O error: No space left on device (os error 28)"), "disk-full"),
        (ZeroDivisionError("division by zero"), "internal"),
        (failure.DataError("nothing"), "data"),
    ],
)  # fmt: skip
def test_an_error_has_one_class(error, name):
    assert failure.classify(error).name == name


def test_a_reason_fits_whatever_the_cause():
    long = failure.DataError("x" * 5000, details=["y" * 200] * 50)

    text = failure.reason(long)

    assert len(text) <= 1024
    first = text.splitlines()[0]
    assert len(first) <= 300
    assert first.startswith("data: xxx")
    assert "; fix: repair or remove the files" in first


def test_a_long_fix_leaves_the_class_and_its_cause_in_place():
    first = failure.reason(failure.DataError("no photos", "f" * 5000)).splitlines()[0]

    assert len(first) <= 300
    assert first.startswith("data: no photos; fix: fff")


def test_a_reason_that_is_there_is_not_overwritten(tmp_path):
    assert failure.write(tmp_path, "first")
    assert not failure.write(tmp_path, "second")
    assert (tmp_path / "failure").read_text() == "first"


@pytest.mark.parametrize(
    ("status", "kills", "name", "words"),
    [
        (-9, 1, "host-memory", "killed by the kernel: peak 0.9 of 1.0 GiB"),
        (-9, 0, "host-memory", "from outside"),
        (-7, 0, "shared-memory", "SIGBUS"),
        (-15, 0, "interrupted", "SIGTERM"),
        (-11, 0, "internal", "SIGSEGV"),
        (3, 0, "internal", "exit code 3"),
    ],
)
def test_a_death_by_signal_is_explained(status, kills, name, words):
    before = resources.Memory(GIB, 0, 0)
    after = resources.Memory(GIB, int(0.9 * GIB), kills)

    died = supervisor.explain(status, before, after)

    assert died.name == name
    assert words in died.cause


def test_every_class_has_a_name_of_its_own_a_meaning_and_a_fix():
    assert len({kind.name for kind in failure.CLASSES}) == len(failure.CLASSES)
    for kind in failure.CLASSES:
        assert kind.meaning
        assert kind.fix
