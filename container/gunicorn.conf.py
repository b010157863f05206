"""gunicorn's configuration: one process that holds no model, a front and threads that decode.

A bad setting, or a model that cannot be loaded, ends the container non-zero with the reason as the
last line of the log.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from container import last_words, log
from container.failure import Failure, reason
from container.heartbeat import Heartbeat
from container.settings import Settings

try:
    settings = Settings.read()
except Failure as error:
    why = f"server not started: {'; '.join(reason(error).splitlines())}"
    print(log.last_line(why, os.environ.get("LOG_FORMAT", "")), file=sys.stderr, flush=True)
    sys.exit(1)

# numpy's own threads would compete with the engine's; set before a worker imports it
os.environ["OPENBLAS_NUM_THREADS"] = "1"
# the code's folder is not ours to write to
sys.dont_write_bytecode = True

bind = f"0.0.0.0:{settings.port}"
chdir = str(Path(__file__).resolve().parents[1])
workers = 1
worker_class = "serve.front.worker.FrontWorker"
worker_connections = 4096  # one costs a socket and no thread
timeout = 0  # gunicorn's own check; `container.heartbeat` does it
graceful_timeout = 25  # the platform kills 30 s after SIGTERM
keepalive = 75  # longer than load balancers keep an idle connection, so that they close first
backlog = 2048
forwarded_allow_ips = ""  # nothing here depends on what a proxy says, so that none is believed
loglevel = "warning"
logconfig_dict = log.configuration(settings.log_level, settings.log_format)
accesslog = None
# heartbeat files on a slow disk freeze the server
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()
# it would be a socket under HOME
control_socket_disable = True


def when_ready(server: Any) -> None:
    Heartbeat(server).start()


def on_exit(server: Any) -> None:
    text = last_words.read()
    if text:
        ended = log.last_line(f"server stopped: {text}", settings.log_format)
        print(ended, file=sys.stderr, flush=True)
        os._exit(1)
