"""What the SDK's local mode leaves behind: stopped containers, labelled with their job's folder."""

from pathlib import Path
from typing import Any

LABEL = "com.docker.compose.project.working_dir"


def remove_containers(docker: Any, folder: Path) -> None:
    """Those that Compose started for files under `folder`."""
    shape = f'{{{{.ID}}}} {{{{.Label "{LABEL}"}}}}'
    listed = docker("ps", "--all", f"--filter=label={LABEL}", f"--format={shape}").stdout
    for line in listed.splitlines():
        number, place = line.split(" ", 1)
        if Path(place).is_relative_to(folder):
            docker("rm", "--force", "--volumes", number)
