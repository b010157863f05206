"""Log lines on standard error: one line per event, a traceback folded into its event's line."""

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

inference_id: ContextVar[str] = ContextVar("inference_id", default="")
"""Of the request that this thread answers: its caller can find the lines by it."""


class OneLine(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        # log collectors make an event of every line
        line = " | ".join(super().format(record).splitlines())
        asked = inference_id.get()
        return f"{line} inference_id={asked}" if asked else line


class Json(logging.Formatter):
    """An object a line: `time` (UTC, ISO 8601), `level`, `logger`, `message`, and where there are
    any `inference_id` and `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told = {
            "time": when,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        asked = inference_id.get()
        if asked:
            told["inference_id"] = asked
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told)


FORMATTERS = {"text": OneLine, "json": Json}


def last_line(text: str, form: str) -> str:
    """Of a server that ends: `text` as it is, or as an object like the lines before it."""
    if form != "json":
        return text
    end = {"name": "serve", "levelname": "CRITICAL", "msg": text}
    return Json().format(logging.makeLogRecord(end))


def to_stderr(form: str) -> None:
    """For a process that logs next to nothing: all of it from warning on, without what
    logging.config imports."""
    handler = logging.StreamHandler()
    handler.setFormatter(FORMATTERS[form]())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def configuration(level: str, form: str = "text") -> dict[str, Any]:
    """For logging.config.dictConfig: our lines from `level` on, a library's from warning on."""
    server = {"level": "WARNING", "handlers": ["stderr"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": FORMATTERS[form]}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            "serve": {"level": level.upper()},
            "gunicorn.error": server,
            "gunicorn.access": server,
        },
    }
