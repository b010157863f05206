"""python -m serve.engine ORDERS: started by the server, see `serve.engine.process`."""

import sys

from container import log
from container.settings import Settings
from serve.engine import worker
from serve.engine.control import Orders

if __name__ == "__main__":
    log.to_stderr(Settings.read().log_format)
    sys.exit(worker.run(Orders.from_argument(sys.argv[1])))
