"""TorchServe with its own batching, one model, on ports of its own.

    python -m benchmarks.peers.torchserve_server

The environment says MODEL_DIR, PORT, WORKERS, BATCH and BATCH_MS.

Makes the archive of `torchserve_handler` and the configuration in a temporary folder, and is then
replaced by TorchServe's own front end, which needs Java 17.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

HANDLER = Path(__file__).with_name("torchserve_handler.py")
NAME = "photos"


def main() -> None:
    if shutil.which("java") is None:
        sys.exit("TorchServe needs Java 17: there is no java on PATH")
    folder = Path(tempfile.mkdtemp(prefix="torchserve-", dir=os.environ.get("SCRATCH")))
    scripts = Path(sys.executable).parent
    archiver = ["--model-name", NAME, "--version", "1", "--handler", str(HANDLER)]
    subprocess.run(
        [str(scripts / "torch-model-archiver"), *archiver, "--export-path", str(folder)], check=True
    )
    (folder / "config.properties").write_text(configuration(folder))
    start = ["--start", "--foreground", "--ncs", "--disable-token-auth"]
    start += ["--ts-config", str(folder / "config.properties"), "--model-store", str(folder)]
    # its record of a running server lies in the temporary folder: one per server of ours
    environment = {**os.environ, "TMPDIR": str(folder), "LOG_LOCATION": str(folder)}
    environment["METRICS_LOCATION"] = str(folder)
    os.chdir(folder)
    os.execve(scripts / "torchserve", ["torchserve", *start], environment)


def configuration(folder: Path) -> str:
    """As its manual says for a CPU: workers and threads share the processors out."""
    workers = int(os.environ.get("WORKERS", "1"))
    model = {
        "defaultVersion": True,
        "marName": f"{NAME}.mar",
        "minWorkers": workers,
        "maxWorkers": workers,
        "batchSize": int(os.environ.get("BATCH", "8")),
        "maxBatchDelay": int(os.environ.get("BATCH_MS", "5")),
        "responseTimeout": 120,
    }
    management, metrics, grpc, grpc_management = free_ports(4)
    lines = {
        "inference_address": f"http://127.0.0.1:{os.environ['PORT']}",
        "management_address": f"http://127.0.0.1:{management}",
        "metrics_address": f"http://127.0.0.1:{metrics}",
        "grpc_inference_port": grpc,
        "grpc_management_port": grpc_management,
        "model_store": folder,
        "load_models": f"{NAME}.mar",
        "models": json.dumps({NAME: {"1": model}}),
        "job_queue_size": 1000,
        "disable_system_metrics": "true",
        "install_py_dep_per_model": "false",
    }
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def free_ports(count: int) -> list[int]:
    """Held together until all are known, so that no two are the same."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


if __name__ == "__main__":
    main()
