"""What a photo is by its content, in any split, under any path, in any job."""

import hashlib

ID_BYTES = 16


def of_photo(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=ID_BYTES).digest()


def of_view(photo: bytes, augmentation: str, view: int) -> bytes:
    """Of the photo as this view changes it. The change is drawn from it, too, so that it is the
    same wherever the photo stands."""
    text = f"{augmentation} {view}".encode()
    return hashlib.blake2b(photo + text, digest_size=ID_BYTES).digest()
