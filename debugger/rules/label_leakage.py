"""Photos that the network is examined on and has learned.

Ours. Two sources: `doctor.json`, in which our train program writes photos that two splits share,
byte for byte or nearly; and saved inputs of the network: an image that was there in a step of
training and in one of an evaluation. Shared train photos that were left out of training are no
leak any more. Augmented photos differ in every step, so that from tensors only unaugmented ones
are found; the finding is a lower bound.
"""

import hashlib
from typing import Any

import numpy as np

from debugger.rules.base import EVAL, NETWORK_INPUT, Array, Finding, TensorRule
from debugger.rules.parameters import Parameter, number, pattern
from debugger.verdict import Sureness

MOST_IMAGES = 200_000
"""Whose digests are kept, per mode."""


class LabelLeakage(TensorRule):
    name = "label_leakage"
    summary = "photos of the evaluation are in training, too"
    parameters = {
        "regex": Parameter(NETWORK_INPUT, pattern, "Names of the network's input.", ours=True),
        "share": Parameter(0.01, number, "Of evaluated images, from which on it fires.", ours=True),
    }
    saves = ("input_image",)
    cheap = False
    at_end = True

    def begin(self) -> None:
        self._learned: set[bytes] = set()
        self._examined: set[bytes] = set()
        self._asked_doctor = self._alone = False
        self._partly = ""
        self._left_out = 0
        self._exact = False

    def look(self, step: int) -> None:
        known = self._examined if self.mode(step) == EVAL else self._learned
        for name in self.matching(step, (), self.chosen.regex):
            value = self.value(name, step)
            if value is None or value.ndim != 4 or len(known) > MOST_IMAGES:
                continue
            self.seen(step)
            for image in value:
                known.add(_digest(image))

    def conclude(self) -> None:
        self._ask_doctor()
        both = len(self._learned & self._examined)
        if self._examined and both >= max(1, self.chosen.share * len(self._examined)):
            share = both / len(self._examined)
            self._exact = True
            words = f"{both} of {len(self._examined)} evaluated images ({100 * share:.0f} %)"
            self.fire(0, "tensors", share + 1, f"{words} were trained on")

    def _ask_doctor(self) -> None:
        """Its counts are of findings, each of which names the files of one photo."""
        doctor = self.evidence.doctor
        if not doctor:
            return
        photos, looked = doctor.get("photos") or {}, doctor.get("looked_at") or {}
        if photos and (len(photos) < 2 or not all(looked.values())):
            self._alone = True  # there was nothing to compare
            return
        self._asked_doctor = True
        if sum(looked.values()) < sum(photos.values()):
            self._partly = f"; it has seen {sum(looked.values())} of {sum(photos.values())} photos"
        counts: dict[str, Any] = doctor.get("counts") or {}
        # files of earlier versions do not tell the shared photos from those that cannot be read
        left_out = doctor.get("leaks_left_out") or doctor.get("left_out") or {}
        self._left_out = int(left_out.get("train", 0))
        leaks, near = int(counts.get("leak", 0)), int(counts.get("near leak", 0))
        named = [each for each in doctor.get("findings", []) if each.get("kind") == "leak"]
        self.seen(0)
        example = f", such as {' = '.join(named[0].get('names', [])[:2])}" if named else ""
        if leaks > self._left_out:
            self._exact = True
            self.fire(0, "doctor.json", 1, f"{leaks} photos are in two splits, byte for byte, and "
                      f"{self._left_out} were left out of train{example}")  # fmt: skip
        if near:
            self.fire(0, "doctor.json: near", 0.5, f"{near} photos of two splits look the same")

    def finding(self) -> Finding:
        words = "; ".join(self.fired[name].words for name in self.worst)
        return Finding(
            f"{words}: accuracy on them is too good",
            "remove them from one split, or set data_policy=error so that no job starts with them; "
            "split by photo before copies are made",
            "accuracy that holds for photos nobody has seen",
            Sureness.CERTAIN if self._exact else Sureness.POSSIBLE,
            {"left_out_of_train": self._left_out},
        )

    def unready(self) -> str:
        if self._asked_doctor or (self._learned and self._examined):
            return ""
        return "inputs were saved in one mode only; training and evaluation are needed"

    def healthy(self) -> str:
        if self._asked_doctor:
            left = f"; {self._left_out} shared ones were left out" if self._left_out else ""
            known = "doctor.json knows no photo of two splits that was trained on"
            return f"{known}{left}{self._partly}"
        return (
            f"none of {len(self._examined)} evaluated images was among {len(self._learned)} trained"
        )

    def missing(self) -> str:
        what = "has looked into one split only" if self._alone else "is not there"
        return (
            f"doctor.json {what}, and no input of the network was saved; set "
            "debug_collections=input_image for both modes"
        )


def _digest(image: Array) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=12).digest()
