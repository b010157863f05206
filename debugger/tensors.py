"""smdebug's trial over a folder, made safe to walk: it never waits and never reads a thing twice.

smdebug's own refreshes on every question, lists all files each time, and sleeps until a file that
may never come. Here `update` reads what is new, and nothing else touches the disk but values, of
which the last MOST_BYTES are kept: several rules ask for the same tensor at the same step. What
stays in memory for a whole job is smdebug's index, a few hundred bytes per saved tensor.
"""

import os
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from debugger import stored
from debugger.reader import (
    CollectionManager,
    IndexFileLocationUtils,
    LocalIndexReader,
    LocalTrial,
    TensorUnavailableForStep,
    Trial,
    parse_worker_name_from_file,
)

MOST_BYTES = 256 << 20
"""Of values that are kept."""


class NoTensorsError(ValueError):
    """The folder holds nothing that smdebug's reader could open; the words say what is wrong."""


class Reader(LocalIndexReader):  # type: ignore[misc]
    """Leaves out files that are damaged, and counts them."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.damaged: list[str] = []
        self._kept: OrderedDict[tuple[str, int], Any] = OrderedDict()
        self._bytes = 0
        self._indexed: set[str] = set()

    def read_index_files(
        self, start_after_key: str | None, range_steps: Any = None
    ) -> tuple[list[bytes], list[int], str | None, list[str]]:
        """Contents, steps and workers of those that have not been read yet."""
        contents, steps, workers = [], [], []
        for path in self.list_index_files():
            if path in self._indexed:
                continue
            self._indexed.add(path)
            try:
                step = IndexFileLocationUtils.parse_step_from_index_file_name(path)
                worker = parse_worker_name_from_file(path)
                if not os.path.isfile(path):
                    raise OSError("no regular file")  # reading a pipe would never end
                content = Path(path).read_bytes()
            except (OSError, ValueError, AttributeError, IndexError) as error:
                self._note(f"{os.path.basename(path)}: {error}")
                continue
            contents.append(content)
            steps.append(int(step))
            workers.append(worker)
            start_after_key = path
        return contents, steps, start_after_key, workers

    def _update_tensors_from_json(
        self, index_tensors_dict: Any, step: int, response: bytes, path: str, worker: str
    ) -> Any:
        try:
            return super()._update_tensors_from_json(
                index_tensors_dict, step, response, path, worker
            )
        except Exception as error:  # a damaged file raises whatever its bytes lead to
            self._note(f"index of step {step}: {error}")
            return index_tensors_dict

    def fetch_tensor_value(self, tensor_location: Any) -> Any:
        try:
            key = (str(tensor_location.event_file_name), int(tensor_location.start_idx))
        except (TypeError, ValueError, OverflowError) as error:
            raise self._gone(
                tensor_location, f"index of {tensor_location.tensorname}: {error}"
            ) from None
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        value = self._read(tensor_location)
        self._kept[key] = value
        self._bytes += value.nbytes
        while self._bytes > MOST_BYTES and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return value

    def _read(self, where: Any) -> Any:
        """A missing or damaged file is a tensor that is not there, as smdebug says it."""
        try:
            if not os.path.isfile(where.event_file_name):
                raise FileNotFoundError("the file is missing")
            with suppress(stored.UnusualError):
                start, length = int(where.start_idx), int(where.length)
                return stored.read(where.event_file_name, start, length)
            return np.asarray(super().fetch_tensor_value(where))
        except Exception as error:  # a damaged file raises whatever its bytes lead to
            file = os.path.basename(where.event_file_name)
            raise self._gone(where, f"{file}: {error or type(error).__name__}") from None

    def _gone(self, where: Any, words: str) -> Exception:
        self._note(words)
        gone: Exception = TensorUnavailableForStep(where.tensorname, where.mode_step, where.mode)
        return gone

    def _note(self, words: str) -> None:
        if len(self.damaged) < 1000:
            self.damaged.append(words)


class Tensors(LocalTrial):  # type: ignore[misc]
    """A trial that stands still between two calls of `update`. Raises NoTensorsError."""

    def __init__(self, folder: Path, finished: bool = True) -> None:
        """`finished`: nothing more will come, so that what is incomplete counts as it is."""
        Trial.__init__(self, folder.name)
        self.path = self.trial_dir = str(folder)
        self.index_reader = Reader(self.path)
        self._load_collections()
        self.update(finished)

    def update(self, finished: bool) -> None:
        self.refresh_data()
        self.loaded_all_steps = finished
        if finished and self._global_to_mode:
            self.last_complete_step = max(self._global_to_mode)

    def maybe_refresh(self, name: str | None = None) -> None:
        """Only `update` reads files."""

    def _load_collections(self) -> None:
        files = sorted(self._get_collection_files())
        if not all(map(os.path.isfile, files)):  # reading a pipe would never end
            raise NoTensorsError(f"{self.path}: collections/ holds what is no regular file")
        if not files:
            raise NoTensorsError(f"{self.path}: no collections/*/worker_*_collections.json")
        try:
            self._read_collections(files)
        except Exception as error:  # smdebug raises whatever the file's bytes lead to
            raise NoTensorsError(f"{files[0]} is damaged: {error}") from error
        if self.collection_manager is None:
            raise NoTensorsError(f"{files[0]} is damaged: it holds nothing")
        # a worker whose file is missing now will not be waited for
        self.num_workers: int = min(int(self.collection_manager.get_num_workers()), len(files))
        for path in files:
            self.worker_set.add(os.path.basename(path).split("_collections")[0])

    @property
    def damaged(self) -> list[str]:
        found: list[str] = self.index_reader.damaged
        return found

    @property
    def in_order(self) -> list[str]:
        """Names in the order in which they were first written: weights as the network has them,
        outputs as it runs, gradients as they come back."""
        return list(self._tensors)


class Nothing(Trial):  # type: ignore[misc]
    """A trial of a job that has saved no tensors: rules that read other files run over it."""

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(folder.name if folder else "nothing")
        self.path = str(folder or "")
        self.loaded_all_steps = True
        self.collection_manager = CollectionManager()

    damaged: list[str] = []
    in_order: list[str] = []

    def update(self, finished: bool) -> None: ...
    def maybe_refresh(self, name: str | None = None) -> None: ...
    def refresh_data(self) -> None: ...
    def _read_collections(self, collection_files: Any) -> None: ...
    def _get_collection_files(self) -> list[str]:
        return []
