"""Scalars for TensorBoard, where the platform looks for them.

A convenience: whatever goes wrong here is said once and never ends the job.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Scalars:
    """One value per metric and epoch, under the names of the metrics line."""

    def __init__(
        self, folder: Path, history: list[dict[str, Any]], say: Callable[[str], None]
    ) -> None:
        self.folder = folder
        self.earlier = list(history)
        self.say = say
        self._writer: Any = None
        self._off = False

    def add(self, metrics: dict[str, Any]) -> None:
        if self._off:
            return
        try:
            if self._writer is None:
                self._open()
            self._write(metrics)
            self._writer.flush()
        except Exception as error:  # an optional package, on a volume that may be full
            self._off = True
            self.say(f"warning: no scalars for TensorBoard: {type(error).__name__}: {error}")

    def _open(self) -> None:
        # here: the import takes a good part of a second, and the package may be absent. Its usual
        # writer queues for a thread, and where a full volume ends the thread, training would wait
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self.folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(self.folder / "events"))
        if self.earlier:
            # a resumed job: TensorBoard drops what older files say of these epochs and later ones
            restart = SessionLog(status=SessionLog.START)
            self._writer.write_event(Event(wall_time=time.time(), step=1, session_log=restart))
            for metrics in self.earlier:
                self._write(metrics)

    def _write(self, metrics: dict[str, Any]) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in metrics.items()
            if name not in ("epoch", "step") and isinstance(value, int | float)
        ]
        summary = Summary(value=values)
        self._writer.write_event(
            Event(wall_time=time.time(), step=metrics["epoch"], summary=summary)
        )

    def close(self) -> None:
        if self._writer is not None and not self._off:
            self._writer.close()
        self._off = True
