"""Published weights into the image, while it is built: `--build-arg PRETRAINED=resnet50,...`.

python -m train.bake NETWORK,NETWORK,... FOLDER

Each file is downloaded from where torchvision publishes it, or from PRETRAINED_INDEX, checked by
the hash in its name, and written as `<network>.safetensors`: what a job reads is plain tensors.
"""

import hashlib
import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from safetensors.torch import save_file

from train import published
from train.published import File, PublishedError
from train.schema import nearest

INDEX = "PRETRAINED_INDEX"
"""Environment variable: a URL that serves the published files under their own names."""
TIMEOUT_SECONDS = 60
PAUSES_SECONDS = (1, 5)
"""Before the second and the third attempt: a build should not fail for one lost connection."""
MOST_BYTES = 8 << 30
BLOCK = 1 << 20


def bake(networks: list[str], folder: Path, index: str, say: Callable[[str], None]) -> list[str]:
    """Writes `<network>.safetensors` for each; returns every mistake at once."""
    folder.mkdir(parents=True, exist_ok=True)
    known = published.names()
    mistakes = [
        f"PRETRAINED={name}: no network with published weights{nearest(name, known)}"
        for name in networks
        if name not in known
    ]
    if index and not index.startswith(("http://", "https://")):
        mistakes.append(f"{INDEX}={index}: expected a URL that begins with http:// or https://")
    if mistakes:
        return mistakes
    for name in networks:
        try:
            size = _bake(published.of(name), folder, index)
        except PublishedError as error:
            mistakes.append(f"PRETRAINED={name}: {error}")
        else:
            say(f"{name}: {size:,} bytes in {folder}")
    return mistakes


def _bake(file: File, folder: Path, index: str) -> int:
    url = f"{index.rstrip('/')}/{file.name}" if index else file.url
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        downloaded = Path(temporary, file.name)
        _download(url, downloaded, file.digest)
        made = Path(temporary, "tensors")
        save_file(published.read(downloaded, file), made)
        made.chmod(0o644)  # jobs run as any user
        made.replace(folder / f"{file.network}.safetensors")
    return (folder / f"{file.network}.safetensors").stat().st_size


def _download(url: str, path: Path, digest: str) -> None:
    """Raises PublishedError, with the server's own words, or the hash that was found."""
    for pause in (*PAUSES_SECONDS, None):
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
                found = _copy(answer, path)
            break
        except (OSError, HTTPException) as error:
            # what a server does not have it will not have a second later
            gone = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if gone or pause is None:
                raise PublishedError(f"{url} cannot be downloaded: {error}") from error
            time.sleep(pause)
    if not found.startswith(digest):
        raise PublishedError(
            f"{url} is not the published file: its SHA-256 begins with {found[: len(digest)]}"
        )


def _copy(answer: HTTPResponse, path: Path) -> str:
    """Returns the SHA-256 of what was copied. Raises OSError where it ends early."""
    digest, total = hashlib.sha256(), 0
    with path.open("wb") as file:
        while block := answer.read(BLOCK):
            total += len(block)
            if total > MOST_BYTES:
                raise PublishedError(f"more than {MOST_BYTES >> 30} GiB")
            digest.update(block)
            file.write(block)
    told = answer.headers.get("Content-Length", "")
    if told.isdecimal() and int(told) != total:  # nothing else tells of a connection that was cut
        raise OSError(f"cut off after {total} of {told} bytes")
    return digest.hexdigest()


def main() -> None:
    asked, folder = sys.argv[1:]
    networks = [name.strip() for name in asked.split(",") if name.strip()]
    mistakes = bake(networks, Path(folder), os.environ.get(INDEX, ""), print)
    if mistakes:
        sys.exit("\n".join(mistakes))


if __name__ == "__main__":
    main()
