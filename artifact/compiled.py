"""A compiled network that answers on a CPU, with OpenVINO: photos -> probabilities, without torch.

`engine/` in the artifact holds it: one graph from pixels to probabilities, with normalisation,
temperature and all else inside, its weights in int8 where that was found to be as good. What was
found, and what its answers may differ by, is in `model.json`.
"""

import importlib.util
import sys
import time
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifact import archive
from artifact.archive import ArtifactError, Description

PREFIX = "openvino-"
"""Of an engine's name in `engines`; what follows is its arithmetic."""

HINTS = {"int8": "f32", "bfloat16": "bf16", "float32": "f32"}
"""Arithmetic -> OpenVINO's hint for what is not quantised. Named, for its own choice differs from
one processor to the next, and what was judged should be what answers."""

WHOLE_PIXEL = 0.02
"""Numbers so near to whole pixel values are those of a photo: as floats they were scaled, and maybe
written with a few digits."""


def installed() -> bool:
    return importlib.util.find_spec("openvino") is not None


def runtime() -> Any:
    """OpenVINO without its telemetry, which looks up a host at import and writes into the home
    folder: without the package, OpenVINO takes a stub of its own."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def runtime_to_serve() -> Any:
    """The same without its converters, which a server never calls: a fifth of the import's time."""
    converters = "openvino.tools.ovc"
    if "openvino" in sys.modules:
        return runtime()
    sys.modules[converters] = None  # type: ignore[assignment]
    try:
        return runtime()
    finally:
        del sys.modules[converters]


@cache
def core() -> Any:
    """OpenVINO's core, one for the process and never given up. Each would set a stack for signals
    of its own and, as it goes, put back the one from before: if that was of a core that has gone
    already, the next signal ends the process without a word (Ctrl-C in a notebook, a child's end).
    """
    return runtime_to_serve().Core()


class CompiledClassifier:
    """What `artifact.inference.Classifier` is with torch. Raises ArtifactError where the artifact
    has no such engine, or a damaged one.

    So many batches as it has `streams` may be classified at a time, on `threads` processors in all.
    With `alone` fewer than `streams`, so many at a time share all the threads, which answers them
    soonest; once `prepare` has returned, more of them get fewer threads each and wait for no other.
    """

    def __init__(self, model_dir: Path, threads: int, streams: int = 1, alone: int = 0) -> None:
        self.folder = archive.find(model_dir)
        self.description = archive.read_description(self.folder)
        if not self.description.compiled:
            raise ArtifactError(f"{self.folder} has no compiled engine")
        self.precision: str = self.description.compiled["precision"]
        self.name = PREFIX + self.precision
        self.image_size = self.description.preprocessing.image_size
        self.threads, self.streams = threads, streams
        alone = alone or streams
        self.batch_images = 2
        """They are computed one after the other: two share the way here, more would only wait."""
        named = archive.check_sizes(self.folder, self.description, archive.ENGINE_FILES)
        archive.check_hash(self.folder, archive.ENGINE_GRAPH, named)  # read by a parser: first
        checking = _Checking(self.folder, named)  # beside compiling: both take a while
        try:
            graph = self.folder / archive.ENGINE_GRAPH
            self._graph = Graph(graph, self.description, threads, alone)
        except Exception as error:
            checking.result()  # if it does not fit, this is why
            first = " ".join(str(error).split())[:300]
            raise ArtifactError(f"{archive.ENGINE_GRAPH} cannot be compiled: {first}") from error
        checking.result()
        if alone == streams:
            self.prepare()  # nothing but to forget what it would be made of

    def classify(self, images: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities N x classes of N x H x W x 3 uint8 pixels, or of N x 3 x H x W float32 that
        is normalised already."""
        return self._graph.classify(images)

    def prepare(self) -> None:
        """What the first answers need not wait for; others may be classified meanwhile."""
        self._graph.split(self.streams)

    def reference(self) -> NDArray[np.float32]:
        """Probabilities of the artifact's reference image, through a photo's whole way."""
        from artifact.preprocess import pixels  # a server's engine gets pixels, and never decodes

        data = (self.folder / archive.REFERENCE).read_bytes()
        one = pixels(data, self.description.preprocessing)
        answer: NDArray[np.float32] = self.classify(np.stack([one]))[0]
        return answer

    def warm_up(self, count: int) -> float:
        """Seconds of a batch of `count`, from one photo's: kernels of another size take some tens
        of milliseconds, which its first batch pays and the start of the server need not."""
        batch = np.zeros((1, self.image_size, self.image_size, 3), np.uint8)
        self.classify(batch)
        start = time.monotonic()
        self.classify(batch)
        return count * (time.monotonic() - start)


class Graph:
    """The graph compiled for this processor: for pixels, and for floats at their first use, which
    few servers ever see. `split` compiles it once more, for many batches at a time."""

    def __init__(
        self, model: Any, description: Description, threads: int, streams: int = 1
    ) -> None:
        """`model` is a path, or a model of OpenVINO from N x 3 x H x W float32 pixel values."""
        self._openvino, self._core = runtime_to_serve(), core()
        self._model = model
        self._rules = description.preprocessing
        precision = (description.compiled or {}).get("precision", "float32")
        self._options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # decoding shares these processors
        }
        self._streams = streams
        self._of_pixels: Any = self._shaped(floats=False)
        self._pixels = self._compile(self._of_pixels, streams)
        self._split: SimpleQueue[Any] | None = None
        self._floats: SimpleQueue[Any] | None = None
        self._compiling = Lock()
        self._entering = Lock()
        self._inside = 0
        self._mean, self._std = (
            np.array([255 * each for each in values], np.float32).reshape(1, 3, 1, 1)
            for values in (self._rules.mean, self._rules.std)
        )

    def classify(self, images: NDArray[Any]) -> NDArray[np.float32]:
        if images.dtype != np.uint8:
            whole = self._whole_pixels(images)
            images = images if whole is None else whole
        with self._entering:
            self._inside += 1
            crowded = self._inside > self._streams
        try:
            requests = self._requests(images.dtype != np.uint8, crowded)
            request = requests.get()
            try:
                return np.concatenate([_infer(request, images[at : at + 1])
                                       for at in range(len(images))])  # fmt: skip
            finally:
                requests.put(request)
        finally:
            with self._entering:
                self._inside -= 1

    def split(self, streams: int) -> None:
        """From its return on, so many batches at a time are computed each on its share of the
        threads, where there are more than those that the graph was compiled for.

        Threads that compute one batch together wait for each other after every layer, and all for
        one that has to let another thread decode: alone with its batch none waits."""
        model, self._of_pixels = self._of_pixels, None
        if streams > self._streams:
            self._split = self._compile(model, streams)

    def _requests(self, floats: bool, crowded: bool) -> "SimpleQueue[Any]":
        if not floats:
            return self._split if crowded and self._split is not None else self._pixels
        with self._compiling:
            if self._floats is None:
                self._floats = self._compile(self._shaped(floats=True), self._streams)
        return self._floats

    def _whole_pixels(self, images: NDArray[np.float32]) -> NDArray[np.uint8] | None:
        """The photos that normalised floats were made of: answered as the photos are, to the bit.
        None where there are none."""
        with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is no pixel
            values = images * self._std + self._mean
            nearest = np.rint(values)
            near = np.abs(values - nearest).max() <= WHOLE_PIXEL
        if not near or nearest.min() < 0 or nearest.max() > 255:
            return None
        return np.ascontiguousarray(nearest.astype(np.uint8).transpose(0, 2, 3, 1))

    def _shaped(self, floats: bool) -> Any:
        """The model with what an image needs on its way to it."""
        openvino, rules = self._openvino, self._rules
        from openvino.preprocess import PrePostProcessor

        from_file = isinstance(self._model, Path)
        model = self._core.read_model(self._model) if from_file else self._model.clone()
        # one photo at a time: several at once are no quicker on a processor, and of a graph for any
        # number each stream would keep weights of its own
        model.reshape([1, 3, rules.image_size, rules.image_size])
        steps = PrePostProcessor(model)
        given = steps.input()
        given.model().set_layout(openvino.Layout("NCHW"))
        if floats:  # from normalised numbers back to the graph's pixel values
            given.tensor().set_element_type(openvino.Type.f32).set_layout(openvino.Layout("NCHW"))
            given.preprocess().scale([1 / (255 * value) for value in rules.std]).mean(
                [-255 * value for value in rules.mean]
            )
        else:
            given.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
            given.preprocess().convert_element_type(openvino.Type.f32)
        return steps.build()

    def _compile(self, model: Any, streams: int) -> "SimpleQueue[Any]":
        """A request for each stream, each used by one thread at a time."""
        options = {**self._options, "NUM_STREAMS": streams}
        compiled = self._core.compile_model(model, "CPU", options)
        free: SimpleQueue[Any] = SimpleQueue()
        for _ in range(streams):
            free.put(compiled.create_infer_request())
        return free


def _infer(request: Any, image: NDArray[Any]) -> NDArray[np.float32]:
    # shared: the next call may write where this answer is, so it is copied at once
    answer = request.infer({0: image}, share_inputs=True, share_outputs=True)
    copied: NDArray[np.float32] = answer[0].copy()
    return copied


class _Checking:
    """The hash of the engine's weights, in a thread: hashing and compiling both let others run."""

    def __init__(self, folder: Path, named: dict[str, dict[str, Any]]) -> None:
        self._error: ArtifactError | None = None
        self._thread = Thread(target=self._check, args=(folder, named), daemon=True)
        self._thread.start()

    def _check(self, folder: Path, named: dict[str, dict[str, Any]]) -> None:
        try:
            archive.check_hash(folder, archive.ENGINE_WEIGHTS, named)
        except ArtifactError as error:
            self._error = error
        except OSError as error:
            self._error = ArtifactError(f"cannot read {error.filename}: {error.strerror}")

    def result(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error
