"""A job's model and reports, from S3 to a folder of this machine."""

import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from jobs.aws import Aws, CommandError, missing, split

ARCHIVES = ("model.tar.gz", "output.tar.gz")
MOST_BYTES = 32 << 30
"""Of an archive, unpacked."""


def outputs(aws: Aws, job: dict[str, Any], into: Path, say: Callable[[str], None]) -> None:
    """The artifact and the report of a training job, unpacked into `into`; what is there already is
    replaced whole."""
    place = f"{job['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job['TrainingJobName']}/output"
    for name in ARCHIVES:
        folder = into / name.partition(".")[0]
        if fetch(aws, f"{place}/{name}", folder):
            say(f"{name}: in {folder}")
    report = into / "output" / "report.html"
    if report.is_file():
        say(f"report: {report}")


def fetch(aws: Aws, uri: str, folder: Path) -> bool:
    """Unpacks an archive; False where there is none. Raises CommandError where it is damaged."""
    bucket, key = split(uri)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile() as file:
        try:
            aws.s3.download_fileobj(bucket, key, file)
        except ClientError as error:
            if missing(error):
                return False
            raise
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:gz") as archive:
                _unpack(archive, folder, uri)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise CommandError(f"{uri} cannot be unpacked: {error}") from error
    return True


def _unpack(archive: tarfile.TarFile, folder: Path, uri: str) -> None:
    total = 0
    for member in archive:
        total += member.size
        if total > MOST_BYTES:
            raise CommandError(f"{uri} holds more than {MOST_BYTES >> 30} GiB")
        archive.extract(member, folder, filter="data")  # no links out, no devices, no owners
