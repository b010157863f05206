"""gunicorn's configuration: one process that holds no model, threads that read and decode.

A bad setting, or a model that cannot be loaded, ends the container non-zero with the reason as the
last line of the log.
"""

import mmap
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from container.failure import Failure, reason
from container.settings import Settings

try:
    settings = Settings.read()
except Failure as error:
    print(f"server not started: {reason(error)}", file=sys.stderr, flush=True)
    sys.exit(1)

bind = f"0.0.0.0:{settings.port}"
chdir = str(Path(__file__).resolve().parents[1])
workers = 1
worker_class = "gthread"
threads = settings.planned_http_threads
timeout = settings.timeout_seconds + 30  # of a silent worker; a request has its own deadline
graceful_timeout = 25  # the platform kills 30 s after SIGTERM
keepalive = 75  # longer than load balancers keep an idle connection, so that they close first
backlog = 2048
loglevel = "warning"
accesslog = None
# heartbeat files on a slow disk freeze the server
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()
control_socket_disable = True

# The worker leaves the reason of a failed start here; the parent process prints it last.
FATAL_BYTES = 4096
fatal = mmap.mmap(-1, FATAL_BYTES)


def post_fork(server: Any, worker: Any) -> None:
    worker.app.cfg.fatal = fatal


def on_exit(server: Any) -> None:
    text = bytes(fatal[:]).rstrip(b"\0").decode("utf-8", "replace")
    if text:
        print(f"server stopped: {text}", file=sys.stderr, flush=True)
        os._exit(1)
