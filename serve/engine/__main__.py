"""python -m serve.engine ORDERS: started by the server, see `serve.engine.process`."""

import sys

from serve.engine import worker
from serve.engine.control import Orders

if __name__ == "__main__":
    sys.exit(worker.run(Orders.from_argument(sys.argv[1])))
