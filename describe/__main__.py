"""Prints one JSON object: what the platform's API, its SDKs and `jobs` need to know of the image.

    docker run IMAGE describe

`Algorithm` fits CreateAlgorithm and CreateModelPackage but for the image's own name, which an image
does not know: put it where `TrainingImage` and `Image` are asked for.
"""

import json
import sys
from typing import Any

from describe import instances, metrics, tunable
from serve import accept, payload


def describe() -> dict[str, Any]:
    return {
        "MetricDefinitions": metrics.definitions(),
        "Objectives": metrics.objectives(),
        "ParameterRanges": tunable.ranges(),
        "AllParameterRanges": tunable.all_ranges(),
        "InstanceAdvice": instances.ADVICE,
        "TrainingSpecification": {
            "SupportedHyperParameters": tunable.hyperparameters(),
            "SupportedTrainingInstanceTypes": list(instances.TRAINING),
            "SupportsDistributedTraining": True,
            "MetricDefinitions": metrics.definitions(),
            "TrainingChannels": tunable.channels(),
            "SupportedTuningJobObjectiveMetrics": metrics.objectives(),
        },
        "InferenceSpecification": {
            "SupportedTransformInstanceTypes": list(instances.TRANSFORM),
            "SupportedRealtimeInferenceInstanceTypes": list(instances.REALTIME),
            "SupportedContentTypes": list(payload.ACCEPTED),
            "SupportedResponseMIMETypes": list(accept.OFFERED),
        },
    }


if __name__ == "__main__":
    json.dump(describe(), sys.stdout, indent=1)
    print()
