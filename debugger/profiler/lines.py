"""The system metrics in SageMaker's own files: JSON lines below `system/incremental/`.

    system/incremental/<YYYYMMDDHH, UTC>/<first second, 10 digits>.algo-<n>.json

That is what smdebug's reader looks for, `algo-<n>` included, whatever the host is called: the
host's own name stands in each line as NodeId. The platform names its own files by full minutes;
ours never are one, so that where both sample a job neither overwrites the other in the bucket.
A sample is written at once, whole and with one call: a reader sees complete lines, and a process
that is killed loses nothing.
"""

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from debugger.profiler.machine import Reading
from debugger.profiler.settings import Settings


class Lines:
    """A rotating file. Raises nothing: after `open_failures` files in a row that cannot be opened
    or written it is `broken`, with the last error in `error`."""

    def __init__(self, settings: Settings, host: str, number: int) -> None:
        self.settings = settings
        self._host, self._number = json.dumps(host), number
        self._file: int | None = None
        self._opened = 0.0
        self._bytes = 0
        self._failed = 0
        self._last_name = 0
        self.written = 0
        """Bytes, in all files."""
        self.error = ""

    @property
    def broken(self) -> bool:
        return self._failed >= self.settings.open_failures

    def write(self, at: float, readings: Sequence[Reading], once: Sequence[Reading] = ()) -> None:
        """A sample, taken at `at` seconds since 1970. `once` is told at each file's start."""
        if self.broken:
            return
        full = self._bytes >= self.settings.rotate_bytes
        if self._file is not None and (full or at - self._opened >= self.settings.rotate_seconds):
            self.close()
        try:
            if self._file is None:
                self._open(at)
                readings = [*once, *readings]
            text = "".join(self._line(at, each) for each in readings).encode()
            assert self._file is not None
            self._bytes += os.write(self._file, text)
            self.written += len(text)
            self._failed = 0
        except OSError as error:
            self._failed += 1
            self.error = str(error)
            self.close()

    def _line(self, at: float, each: Reading) -> str:
        # by hand: a large host has hundreds of lines a sample, and json.dumps is ten times slower
        return (
            f'{{"Type":"{each.type}","Name":"{each.name}","Dimension":"{each.dimension}",'
            f'"Value":{each.value:.2f},"NodeId":{self._host},"Timestamp":{at:.6f}}}\n'
        )

    def _open(self, at: float) -> None:
        second = max(int(at), self._last_name + 1)
        second += second % 60 == 0
        self._last_name = second
        folder = hour_folder(self.settings.folder / "system" / "incremental", at)
        path = folder / f"{second:010d}.algo-{self._number}.json"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._opened, self._bytes = at, 0

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # a full disk of the network's may say so only here
                os.close(file)


def hour_folder(base: Path, at: float) -> Path:
    """The UTC hour's folder below `base`, made where it is missing."""
    folder = base / time.strftime("%Y%m%d%H", time.gmtime(at))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
