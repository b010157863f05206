"""Log lines on standard error: one line per event, a traceback folded into its event's line."""

import logging
from typing import Any


class OneLine(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        # log collectors make an event of every line
        return " | ".join(super().format(record).splitlines())


def configuration(level: str) -> dict[str, Any]:
    """For logging.config.dictConfig: our lines from `level` on, a library's from warning on."""
    server = {"level": "WARNING", "handlers": ["stderr"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": "container.log.OneLine"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            "serve": {"level": level.upper()},
            "gunicorn.error": server,
            "gunicorn.access": server,
        },
    }
