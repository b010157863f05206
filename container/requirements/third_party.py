"""Writes THIRD_PARTY.md: what the image holds beyond our own code, and under which licence.

    docker run --rm --volume "$PWD:/opt/program:ro" --entrypoint python IMAGE \\
        -P -m container.requirements.third_party > list && mv list THIRD_PARTY.md

In the image, because all of it is installed there. Names and versions come from the lock, licences
from what each package says of itself.
"""

from importlib.metadata import Distribution, distribution

from packaging.markers import Marker

from container.requirements.lockfile import Pin, pins

LOCKS = ("app", "torch", "platform")
NOT_STATED = "not stated"

IMAGE = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.2",
    "python_version": "3.11",
    "sys_platform": "linux",
}
"""What the markers of the lock are asked for, whatever machine asks."""

READ_BY_HAND = {
    "cuda-toolkit": "none stated; it holds no files, only requirements",
    "pyinstrument-cext": "BSD-3-Clause",
}
"""Packages whose metadata names no licence: from their licence files."""

HEAD = """\
# Third-party software in the image

Written by `container/requirements/third_party.py` from the lock: do not edit. The Python packages
of the image as the ordinary index has them; another `TORCH_INDEX` leaves some of them out. The
image itself holds the same as a CycloneDX bill of materials, `/opt/program/sbom.json`, and the
Debian packages of its base, `/opt/program/debian-packages.txt`, whose licences lie in
`/usr/share/doc/*/copyright`.

Pretrained weights are not in the image. Those that torchvision downloads for `pretrained=true` come
with terms of their own: they were trained on ImageNet, whose images may be used for non-commercial
research and education only, and whether that binds a model made from such weights is for you to
judge; torchvision's page of each network names the licence of its weights. `pretrained=false`, or
weights of your own in the `pretrained` channel, use none of them.

| package | version | licence |
|---|---|---|
"""


def in_image() -> list[Pin]:
    """The pins whose marker holds in the image, by name."""
    chosen = [
        pin for pin in pins(*LOCKS) if not pin.marker or Marker(pin.marker).evaluate(dict(IMAGE))
    ]
    return sorted(chosen, key=lambda pin: pin.name)


def licence(package: Distribution) -> str:
    """As the package says: an SPDX expression, else its classifiers, else its own words."""
    said = package.metadata.json
    if expression := said.get("license_expression"):
        return str(expression)
    classifiers = [
        value.rsplit(" :: ", 1)[1]
        for value in said.get("classifier", [])
        if value.startswith("License ::")
        and not value.endswith(("OSI Approved", "Proprietary License"))
    ]
    if classifiers:
        return ", ".join(classifiers)
    words = str(said.get("license", "")).strip()
    return words.splitlines()[0] if words else READ_BY_HAND.get(_name(package), NOT_STATED)


def _name(package: Distribution) -> str:
    return package.name.replace("_", "-")


def main() -> None:
    rows = [
        f"| {pin.name} | {pin.version} | {licence(distribution(pin.name))} |" for pin in in_image()
    ]
    print(HEAD + "\n".join(rows))


if __name__ == "__main__":
    main()
