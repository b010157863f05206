"""smdebug's reader and its `Rule`, for programs that need nothing else of it: quiet, without torch.

smdebug asks torch whether several processes train, and does without it where it is not installed.
A program that only reads need not load it: seconds and some hundred MB. Later imports of torch, by
a user's own rule, work as ever. Everything of smdebug that reads is imported here and nowhere
else.
"""

import os
import sys
import warnings

# read by smdebug when it is imported: our programs print for people
os.environ.setdefault("SMDEBUG_LOG_LEVEL", "error")
_hidden = "torch" not in sys.modules
if _hidden:
    sys.modules["torch"] = None  # type: ignore[assignment]
try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports what Python has deprecated
        from smdebug.core.collection_manager import CollectionManager
        from smdebug.core.index_reader import LocalIndexReader
        from smdebug.core.locations import IndexFileLocationUtils
        from smdebug.core.tfrecord.record_writer import masked_crc32c
        from smdebug.core.utils import parse_worker_name_from_file
        from smdebug.exceptions import (
            RuleEvaluationConditionMet,
            SMDebugError,
            TensorUnavailableForStep,
        )
        from smdebug.rules.rule import Rule
        from smdebug.trials.local_trial import LocalTrial
        from smdebug.trials.trial import Trial
finally:
    if _hidden:
        del sys.modules["torch"]

__all__ = [
    "CollectionManager", "IndexFileLocationUtils", "LocalIndexReader",
    "LocalTrial", "Rule", "RuleEvaluationConditionMet", "SMDebugError", "TensorUnavailableForStep",
    "Trial", "masked_crc32c", "parse_worker_name_from_file",
]  # fmt: skip
