"""Runs the notebook from top to bottom, and keeps it with its outputs.

    python -m local_test.notebook [--into FILE]

Without --into the notebook itself is rewritten. What would differ from one machine or run to the
next without anybody's doing stays out; so does what a failed run has left.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from traitlets.config import Config

PATH = Path(__file__).with_name("train_and_deploy.ipynb")
CELL_SECONDS = 3600
ENCRYPTED = Config(KernelManager={"transport_encryption": "required"})
"""The kernel listens on ports that other users of the machine reach, too."""
LANGUAGE = {"name": "python"}
SOURCES = "sources"
"""In the notebook's metadata: which sources its outputs are of."""


def sources(notebook: NotebookNode) -> str:
    """Names the code cells' content and order."""
    codes = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\n\0".join(codes).encode()).hexdigest()


def execute(path: Path = PATH) -> NotebookNode:
    """The notebook with new outputs. Raises CellExecutionError."""
    notebook: NotebookNode = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=CELL_SECONDS, kernel_name="python3", record_timing=False,
        coalesce_streams=True, resources={"metadata": {"path": str(path.parent)}},
        config=ENCRYPTED,
    ).execute()  # fmt: skip
    notebook.metadata["language_info"] = LANGUAGE
    notebook.metadata[SOURCES] = sources(notebook)
    return notebook


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--into", type=Path, default=PATH, help="default: the notebook itself")
    into = parser.parse_args().into
    try:
        notebook = execute()
    except CellExecutionError as error:
        print(error, file=sys.stderr)
        return 1
    nbformat.write(notebook, into)
    print(f"notebook  {into}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
