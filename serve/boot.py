"""What gunicorn calls, as `serve.boot:create_app()`: a server, made in the order that is quickest.

The engine's process takes most of the time until the first answer, so it is started before the rest
of the server is even imported. A server that cannot be made ends the container with its reason.
"""

import logging
import logging.config
import sys
from typing import Any

from artifact import archive
from container import last_words, log, malloc, opt_ml
from container.failure import Failure, classify, reason
from container.opt_ml import Paths
from container.settings import Settings
from serve.engine import spawn
from serve.plan import Plan

BOOT_ERROR = 3
"""gunicorn's own exit code for a worker that must not be started again."""


def create_app() -> Any:
    """The application that gunicorn serves."""
    settings = Settings.read()
    logging.config.dictConfig(log.configuration(settings.log_level, settings.log_format))
    paths = Paths(opt_ml.base())
    try:
        _begin(settings, paths)
        malloc.keep_little()
        from serve import app, record, server

        made = server.start(settings, paths)
        record.start(made.watch)
        return app.routes(made)
    except Exception as error:
        failure = classify(error)
        if not isinstance(error, Failure):
            logging.getLogger("serve").exception("the server cannot start")
        last_words.leave(reason(failure, error))
        sys.exit(BOOT_ERROR)


def _begin(settings: Settings, paths: Paths) -> None:
    """The engine of the one model on the processors; all others are started in their time."""
    if settings.multi_model == "true" or settings.gpus:
        return
    try:
        folder = archive.find(paths.model)
    except archive.ArtifactError:
        return  # the server will say so
    plan = Plan.make(settings, 0)
    orders = spawn.orders(folder, settings, plan, None)
    spawn.begin(orders, spawn.environment(plan.threads, None))
