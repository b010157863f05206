"""SDK v2: a training job with the Debugger, and a search over the image's own ranges.

    python local_test/sdk/v2_jobs.py s3://BUCKET/photos s3://BUCKET/output ROLE IMAGE

Starts both and does not wait. IMAGE is what `build_and_push.sh` printed; it is asked here
for its metrics and ranges, so it must be on this machine, too.
"""

import json
import subprocess
import sys

from sagemaker.debugger import CollectionConfig, DebuggerHookConfig, Rule, rule_configs
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.tuner import (
    CategoricalParameter,
    ContinuousParameter,
    HyperparameterTuner,
    IntegerParameter,
)

photos, output, role, image = sys.argv[1:]
command = ["docker", "run", "--rm", image, "describe"]
described = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

options = {
    "image_uri": image,
    "role": role,
    "instance_count": 1,
    "instance_type": "ml.c5.2xlarge",
    "output_path": output,
    "metric_definitions": described["MetricDefinitions"],
    "enable_network_isolation": True,
    "hyperparameters": {"network": "mobilenet_v3_small", "epochs": 3},
}
channels = {name: TrainingInput(f"{photos}/{name}") for name in ("train", "validation")}

watched = Estimator(
    **options,
    debugger_hook_config=DebuggerHookConfig(
        s3_output_path=output,
        hook_parameters={"train.save_interval": "10"},
        # the rule adds the losses by itself
        collection_configs=[CollectionConfig("gradients")],
    ),
    rules=[Rule.sagemaker(rule_configs.loss_not_decreasing())],
)
watched.fit(channels, wait=False)
print("training job:", watched.latest_training_job.name)

found = described["ParameterRanges"]
ranges = {
    each["Name"]: kind(float(each["MinValue"]), float(each["MaxValue"]), each["ScalingType"])
    for kind, key in (
        (ContinuousParameter, "ContinuousParameterRanges"),
        (IntegerParameter, "IntegerParameterRanges"),
    )
    for each in found[key]
}
for each in found["CategoricalParameterRanges"]:
    ranges[each["Name"]] = CategoricalParameter(each["Values"])
objective = described["Objectives"][0]
tuner = HyperparameterTuner(
    Estimator(**options),
    objective_metric_name=objective["MetricName"],
    objective_type=objective["Type"],
    metric_definitions=described["MetricDefinitions"],
    hyperparameter_ranges=ranges,
    max_jobs=8,
    max_parallel_jobs=2,
    early_stopping_type="Auto",
)
tuner.fit(channels, wait=False)
print("tuning job:", tuner.latest_tuning_job.name)
