"""SDK v3: a training job, another one with the Debugger, and a search over the image's own ranges.

    python local_test/sdk/v3_jobs.py s3://BUCKET/photos s3://BUCKET/output ROLE IMAGE

Starts them and does not wait. IMAGE is what `build_and_push.sh` printed; it is asked here
for its metrics and ranges, so it must be on this machine, too.
"""

import json
import subprocess
import sys

from sagemaker.core import shapes
from sagemaker.core.debugger import Rule, get_rule_container_image_uri, rule_configs
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.parameter import CategoricalParameter, ContinuousParameter, IntegerParameter
from sagemaker.core.resources import TrainingJob
from sagemaker.core.training.configs import Compute, InputData, MetricDefinition, Networking
from sagemaker.train import ModelTrainer
from sagemaker.train.tuner import HyperparameterTuner

photos, output, role, image = sys.argv[1:]
command = ["docker", "run", "--rm", image, "describe"]
described = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

session = Session()
metrics = described["MetricDefinitions"]
trainer = ModelTrainer(
    training_image=image,
    role=role,
    base_job_name="photos",
    compute=Compute(instance_type="ml.c5.2xlarge", instance_count=1),
    networking=Networking(enable_network_isolation=True),
    output_data_config=shapes.OutputDataConfig(s3_output_path=output),
    hyperparameters={"network": "mobilenet_v3_small", "epochs": 3},
    sagemaker_session=session,
).with_metric_definitions(
    [MetricDefinition(name=each["Name"], regex=each["Regex"]) for each in metrics]
)
channels = [
    InputData(channel_name=name, data_source=f"{photos}/{name}") for name in ("train", "validation")
]
trainer.train(channels, wait=False)
print("training job:", trainer._latest_training_job.training_job_name)

# ModelTrainer has no word for the Debugger; the job beneath it has
rule = Rule.sagemaker(rule_configs.loss_not_decreasing())
job = trainer._latest_training_job
watched = TrainingJob.create(
    training_job_name=f"{job.training_job_name}-watched",
    algorithm_specification=shapes.AlgorithmSpecification(
        training_image=image, training_input_mode="File"
    ),
    role_arn=role,
    input_data_config=[
        shapes.Channel(
            channel_name=each.channel_name,
            data_source=shapes.DataSource(
                s3_data_source=shapes.S3DataSource(s3_data_type="S3Prefix", s3_uri=each.data_source)
            ),
        )
        for each in channels
    ],
    output_data_config=shapes.OutputDataConfig(s3_output_path=output),
    resource_config=shapes.ResourceConfig(
        instance_type="ml.c5.2xlarge", instance_count=1, volume_size_in_gb=30
    ),
    stopping_condition=shapes.StoppingCondition(max_runtime_in_seconds=3600),
    hyper_parameters={"network": "mobilenet_v3_small", "epochs": "3"},
    debug_hook_config=shapes.DebugHookConfig(
        s3_output_path=output,
        hook_parameters={"train.save_interval": "10"},
        collection_configurations=[
            shapes.CollectionConfiguration(collection_name=name) for name in ("losses", "gradients")
        ],
    ),
    debug_rule_configurations=[
        shapes.DebugRuleConfiguration(
            rule_configuration_name=rule.name,
            rule_evaluator_image=get_rule_container_image_uri(rule.name, session.boto_region_name),
            rule_parameters=rule.rule_parameters,
        )
    ],
    session=session.boto_session,
)
print("watched training job:", watched.training_job_name)

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
# hands all of the trainer on but its networking: these jobs have a network
tuner = HyperparameterTuner(
    trainer,
    objective_metric_name=objective["MetricName"],
    objective_type=objective["Type"],
    metric_definitions=metrics,
    hyperparameter_ranges=ranges,
    max_jobs=8,
    max_parallel_jobs=2,
    early_stopping_type="Auto",
)
tuner.tune(channels, wait=False)
print("tuning job:", tuner.latest_tuning_job.hyper_parameter_tuning_job_name)
