"""Why a job failed: a closed set of classes, and the reason file that the platform shows.

The platform shows the first 1,024 characters of `/opt/ml/output/failure` and nothing else, so the
first line holds the class, the cause and what to do, and a traceback comes last, if it fits.
"""

import errno
import os
import re
import traceback
from pathlib import Path

from container import resources

REASON_CHARACTERS = 1024
FIRST_LINE_CHARACTERS = 300
LEAST_CAUSE_CHARACTERS = 150
"""Of the first line, however long the fix is."""

FOLDER = "FAILURE_FOLDER"
"""Environment variable: one of several processes leaves its reason there, so that the first one's
counts."""

SHARED_MEMORY_NEEDED = 1 << 20
"""Bytes; less is as good as none."""


class Failure(Exception):
    """A failure that somebody can act on. `cause` says what happened, `fix` what would work."""

    name = "internal"
    meaning = "a defect of this program; the traceback is in the log"
    fix = "report it with the log; the traceback names the place"

    def __init__(self, cause: str, fix: str | None = None, details: list[str] | None = None):
        super().__init__(cause)
        self.cause = cause
        self.fix = fix or type(self).fix
        self.details = details or []

    def __str__(self) -> str:
        return "\n".join([f"{self.name}: {self.cause}", *self.details, f"fix: {self.fix}"])


class HyperparameterError(Failure):
    name = "hyperparameter"
    meaning = "a hyperparameter is unknown, of the wrong type, or out of range"
    fix = "correct the values listed; docs/train.md has the table of hyperparameters"


class ChannelError(Failure):
    name = "channel"
    meaning = "an input channel or a configuration file is missing or laid out in an unknown way"
    fix = "give the job a `train` channel with one folder of photos per class"


class DataError(Failure):
    name = "data"
    meaning = "the photos cannot be used: too few, too many bad files, classes that do not match"
    fix = "repair or remove the files named in the log"


class PretrainedError(Failure):
    name = "pretrained"
    meaning = "pretrained weights cannot be found, or do not fit the network"
    fix = (
        "give a `pretrained` channel, build the weights into the image, allow the download, "
        "or set pretrained=false"
    )


class DiskFullError(Failure):
    name = "disk-full"
    meaning = "a volume that the job writes to is full"
    fix = "raise VolumeSizeInGB, or remove what else fills the volume"


class HostMemoryError(Failure):
    name = "host-memory"
    meaning = "the machine or the container's limit ran out of memory"
    fix = "lower batch_size, num_workers or image_size, or take a larger instance"


class GpuMemoryError(Failure):
    name = "gpu-memory"
    meaning = "the GPU ran out of memory"
    fix = "lower batch_size or image_size, or take an instance whose GPU has more memory"


class SharedMemoryError(Failure):
    name = "shared-memory"
    meaning = "/dev/shm is too small for the data loading processes"
    fix = "set num_workers=0, or give the container a larger --shm-size"


class DeviceError(Failure):
    name = "device"
    meaning = "a GPU is there but cannot run this build's kernels"
    fix = "take an instance whose driver fits, or an image built for that GPU"


class NonFiniteLossError(Failure):
    name = "non-finite-loss"
    meaning = "the loss became infinite or not a number"
    fix = "lower learning_rate, add warmup_epochs, or set precision=float32"


class StalledError(Failure):
    name = "stalled"
    meaning = "training stood still, in a deadlock or a read that never returned"
    fix = (
        "look at the stacks in the log; start the job again, it continues from its checkpoint; "
        "raise stall_seconds where a step may take so long"
    )


class PermissionFailure(Failure):
    name = "permission"
    meaning = "a file or folder may not be read or written by this user"
    fix = "mount it writable for the user that the container runs as"


class InterruptedFailure(Failure):
    name = "interrupted"
    meaning = "the job was stopped before there was anything to keep"
    fix = "start it again; with a checkpoint channel it continues where it was"


class PeerLostError(Failure):
    name = "peer-lost"
    meaning = "another host or process of the job failed, fell silent or cannot be reached"
    fix = (
        "look at the named host's log first; the hosts must reach each other on all TCP ports "
        "(in a VPC, the security group must allow itself)"
    )


class ModelError(Failure):
    name = "model"
    meaning = "a model artifact is missing, damaged, or not one of ours"
    fix = "train again, or mount the folder that holds model.json"


class SettingError(Failure):
    name = "setting"
    meaning = "an environment variable of the server has a value that cannot be used"
    fix = "correct the values listed; docs/serve.md has the table of settings"


class EngineError(Failure):
    name = "engine"
    meaning = "the server's engine process died again and again before it was ready once"
    fix = "look at the log above; give the container more memory, or lower BATCH_IMAGES"


class RuleError(Failure):
    name = "rule"
    meaning = "a rule of the Debugger whose action is `stop` has fired"
    fix = (
        "change what the rule names and start again; rule_action=warn lets the job go on, "
        "stop_and_keep_best ends it with a model"
    )


class InternalError(Failure):
    pass


CLASSES: tuple[type[Failure], ...] = (
    HyperparameterError,
    ChannelError,
    DataError,
    PretrainedError,
    DiskFullError,
    HostMemoryError,
    GpuMemoryError,
    SharedMemoryError,
    DeviceError,
    NonFiniteLossError,
    StalledError,
    PermissionFailure,
    InterruptedFailure,
    PeerLostError,
    ModelError,
    SettingError,
    EngineError,
    RuleError,
    InternalError,
)

# What libraries say when they do not raise an OSError; none of them may be imported here. Ordered:
# a loader's bus error mentions memory too.
MESSAGES: tuple[tuple[str, type[Failure]], ...] = (
    (r"bus error|shared memory|shm_open|/torch_\d+_\d+", SharedMemoryError),
    (r"no space left|os error 28|disk quota exceeded", DiskFullError),
    (r"out of memory on device|cuda.*out of memory|outofmemoryerror|alloc_failed", GpuMemoryError),
    (r"no kernel image|driver version is insufficient|cuda error|cuda driver", DeviceError),
    (
        r"can't allocate memory|cannot allocate memory|failed to allocate \d+ bytes|bad_alloc"
        r"|killed by signal: killed",
        HostMemoryError,
    ),
    (r"permission denied|read-only file system", PermissionFailure),
)


def classify(error: BaseException) -> Failure:
    """The failure that an exception amounts to; a Failure is itself, an unknown one is internal."""
    if isinstance(error, Failure):
        return error
    words = str(error).strip() or type(error).__name__
    lines = words.splitlines()
    # an error of a loader's worker arrives as its whole traceback
    first = lines[-1] if lines[0].startswith("Caught ") else lines[0]
    if isinstance(error, MemoryError):
        return HostMemoryError(f"out of memory: {first}")
    if isinstance(error, OSError) and error.errno is not None:
        where = f" ({error.filename})" if error.filename else ""
        if error.errno == errno.ENOSPC and not error.filename and _shared_memory_full():
            return SharedMemoryError("/dev/shm is full")
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DiskFullError(f"no space left on the volume{where}")
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return PermissionFailure(f"{error.strerror}{where}")
        if error.errno == errno.ENOMEM:
            return HostMemoryError(f"out of memory: {first}")
    text = f"{type(error).__name__}: {words}".lower()
    for pattern, kind in MESSAGES:
        if re.search(pattern, text):
            return kind(first)
    if isinstance(error, KeyboardInterrupt):
        return InterruptedFailure("stopped from the keyboard")
    return InternalError(f"{type(error).__name__}: {first}")


def _shared_memory_full() -> bool:
    """Semaphores of worker processes live there, and their error names no file."""
    free = resources.shared_memory_bytes()
    return free is not None and free < SHARED_MEMORY_NEEDED


def reason(failure: Failure, error: BaseException | None = None) -> str:
    """The text of the reason file: at most 1,024 characters, the answer first."""
    head = f"{failure.name}: {' '.join(failure.cause.split())}"
    tail = f"; fix: {' '.join(failure.fix.split())}"
    room = max(FIRST_LINE_CHARACTERS - len(tail), LEAST_CAUSE_CHARACTERS)
    first = _cut(_cut(head, room) + tail, FIRST_LINE_CHARACTERS)
    lines = [first, *failure.details]
    if error is not None and not isinstance(error, Failure):
        frames = traceback.extract_tb(error.__traceback__)[-2:]
        lines += [f"at {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
    return _cut("\n".join(lines), REASON_CHARACTERS)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def of_peer(who: str, text: str) -> Failure:
    """The reason `text` of another process, as its peers give it: the first to fail, by name."""
    first, _, rest = text.partition("\n")
    cause, _, fix = first.partition("; fix: ")
    if cause.startswith(f"{PeerLostError.name}: "):  # a host that fell silent has no words
        cause = cause.removeprefix(f"{PeerLostError.name}: ")
    else:
        cause = f"{who} failed first: {cause}"
    return PeerLostError(cause, fix or None, rest.splitlines())


def read(who: str, first: str) -> Failure:
    """The failure that the `first` line of a reason file is about, as `who` has met it."""
    name, _, rest = first.partition(": ")
    cause, _, fix = rest.partition("; fix: ")
    kind = next((kind for kind in CLASSES if kind.name == name), InternalError)
    return kind(f"{who}: {cause or first}", fix or None)


def folder(output: Path) -> Path:
    """Where a process leaves its reason: where its supervisor wants it, else in `output`."""
    return Path(os.environ.get(FOLDER) or output)


def write(output: Path, text: str) -> bool:
    """Writes `output/failure`; a reason that is there already stays, it was nearer to the cause."""
    path = output / "failure"
    try:
        if path.is_file() and path.stat().st_size:
            return False
        output.mkdir(parents=True, exist_ok=True)
        # a file name may hold bytes that are no text
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError:  # a full or read-only volume: the log still has the reason
        return False
    return True
