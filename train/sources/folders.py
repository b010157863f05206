"""One folder of photos per class."""

from collections.abc import Iterator

from artifact.preprocess import EXTENSIONS
from container.failure import ChannelError
from pages.markup import shown
from train.sources.left_out import NAMED, LeftOut
from train.sources.listing import Folder
from train.sources.request import Request
from train.sources.samples import LabelError, Listed, Samples, label

# An image that nobody can decode here is a mistake worth naming; a read-me file is not.
FOREIGN_IMAGES = (".gif", ".heic", ".heif", ".avif", ".svg", ".psd", ".raw", ".cr2", ".nef", ".jp2")


def read(request: Request) -> Listed:
    """Classes without photos are left out and named. Raises ChannelError."""
    split = request.split
    samples = Samples(split, request.folder.path)
    ignored = LeftOut()
    for folder in request.folder.folders:
        try:
            name = label(folder.name)
        except LabelError as error:
            raise ChannelError(f"{split}: folder {folder.name!r:.300}: {error}") from error
        before = len(samples)
        for photo in _photos(folder, f"{folder.name}/", ignored):
            samples.add(photo, [name])
        if len(samples) == before:
            request.notes.append(f"{split}/{name}: no photos in this folder, so no class")
    if not len(samples):
        raise ChannelError(f"the {split} channel has no class folders: {_seen(request.folder)}")
    ignored.tell(request.notes, split, "files that are no photos ignored")
    return samples.listed()


def has_photos(folder: Folder) -> bool:
    return next((True for name in folder.walk() if name.lower().endswith(EXTENSIONS)), False)


def _photos(folder: Folder, below: str, ignored: LeftOut) -> Iterator[str]:
    for path in folder.walk(below):
        name = path.rpartition("/")[2].lower()
        # objects in a bucket often have no extension: their bytes decide
        if "." not in name[1:] or name.endswith((*EXTENSIONS, *FOREIGN_IMAGES)):
            yield path
        else:
            ignored.add(path)


def _seen(folder: Folder) -> str:
    files = list(folder.files())
    flat = sum(name.lower().endswith(EXTENSIONS) for name in files)
    if flat:
        return f"{flat} photos lie in it without a class ({folder.path})"
    others = f", but {', '.join(map(shown, files[:NAMED]))}" if files else ""
    return f"it holds no photos{others} ({folder.path})"
