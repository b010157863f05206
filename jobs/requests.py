"""Requests to the platform, built from the project and from what the image says of itself.

Pure functions: a dry run prints what they return, and nothing else is ever sent.
"""

import json
from typing import Any

from jobs import rules
from jobs.project import HOURS, Project

Request = dict[str, Any]

HOOK_SAVE_INTERVAL = "50"
PAYLOAD_MB, TOGETHER_MB = 25, 100
"""Of a batch job's photo, and of all that are on their way to one instance: API/CreateTransformJob
refuses more."""
BAKE_SECONDS = 300
"""Both fleets run side by side for so long, so that an alarm can roll back."""


def tags(project: Project) -> list[dict[str, str]]:
    return [
        {"Key": key, "Value": value}
        for key, value in {**project.tags, "project": project.name}.items()
    ]


def training_job(project: Project, described: Request, name: str, data: dict[str, str]) -> Request:
    """CreateTrainingJob. `data`: channel -> s3:// URI."""
    train = project.train
    request: Request = {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": project.image,
            "TrainingInputMode": train.input_mode,
            "MetricDefinitions": described["MetricDefinitions"],
            "EnableSageMakerMetricsTimeSeries": True,
        },
        "RoleArn": project.role,
        "InputDataConfig": [_channel(project, *each) for each in sorted(data.items())],
        "OutputDataConfig": _output(project),
        "ResourceConfig": _resources(project),
        "StoppingCondition": _stopping(project),
        "HyperParameters": hyperparameters(project),
        "EnableNetworkIsolation": train.isolated,
        "EnableManagedSpotTraining": train.spot,
        "Tags": tags(project),
    }
    if train.checkpoints:
        request["CheckpointConfig"] = {"S3Uri": f"{project.prefix}/checkpoints/{name}"}
    if train.environment:
        request["Environment"] = train.environment
    if train.subnets:
        request["VpcConfig"] = {
            "Subnets": train.subnets, "SecurityGroupIds": train.security_groups,
        }  # fmt: skip
    if train.count > 1:
        request["EnableInterContainerTrafficEncryption"] = False
    request |= _debugger(project, name)
    return request


def hyperparameters(project: Project) -> dict[str, str]:
    """As strings, which is all that the platform takes."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in project.train.hyperparameters.items()
    }


def _channel(project: Project, name: str, uri: str) -> Request:
    weights = name in ("model", "pretrained")
    return {
        "ChannelName": name,
        "InputMode": "File" if weights else project.train.input_mode,
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": uri,
                "S3DataDistributionType": (
                    project.train.distribution
                    if name in ("train", "training")
                    else "FullyReplicated"
                ),
            }
        },
    }


def _output(project: Project) -> Request:
    key = {"KmsKeyId": project.train.kms_key} if project.train.kms_key else {}
    return {"S3OutputPath": f"{project.prefix}/output", **key}


def _resources(project: Project) -> Request:
    train = project.train
    request: Request = {
        "InstanceType": train.instance,
        "InstanceCount": train.count,
        "VolumeSizeInGB": train.volume_gb,
    }
    if train.keep_alive_minutes:
        request["KeepAlivePeriodInSeconds"] = train.keep_alive_minutes * 60
    return request


def _stopping(project: Project) -> Request:
    longest = int(project.train.max_hours * HOURS)
    request: Request = {"MaxRuntimeInSeconds": longest}
    if project.train.spot:
        wait = int(project.train.spot_wait_hours * HOURS)
        request["MaxWaitTimeInSeconds"] = longest + wait
    return request


def _debugger(project: Project, name: str) -> Request:
    """The platform's Debugger, where it is asked for; it is switched off otherwise."""
    train = project.train
    request: Request = {}
    if train.debug_hook or train.debug_rules:
        request["DebugHookConfig"] = {
            "S3OutputPath": f"{project.prefix}/debug",
            "CollectionConfigurations": [
                {
                    "CollectionName": collection,
                    "CollectionParameters": {"save_interval": HOOK_SAVE_INTERVAL},
                }
                for collection in ("losses", "gradients", "weights")
            ],
        }
    if train.debug_rules:
        request["DebugRuleConfigurations"] = [
            {
                "RuleConfigurationName": rule,
                "RuleEvaluatorImage": _rule_image(project),
                "RuleParameters": {"rule_to_invoke": rule},
            }
            for rule in train.debug_rules
        ]
    if train.profiler:
        request["ProfilerConfig"] = {
            "S3OutputPath": f"{project.prefix}/profile",
            "ProfilingIntervalInMilliseconds": 500,
        }
    return request


def _rule_image(project: Project) -> str:
    account = rules.ACCOUNTS[project.region]
    return f"{account}.dkr.ecr.{project.region}.amazonaws.com/sagemaker-debugger-rules:latest"


def search(project: Project, described: Request, given: Request) -> Request:
    """The file that the image's own `tune` reads too, with what it leaves out."""
    config = given.get("HyperParameterTuningJobConfig", given)
    if not isinstance(config, dict):
        return given
    limits = config.get("ResourceLimits", {})
    if isinstance(limits, dict):
        limits = {
            "MaxNumberOfTrainingJobs": project.tune.trials,
            "MaxParallelTrainingJobs": project.tune.parallel, **limits,
        }  # fmt: skip
    made: Request = {"HyperParameterTuningJobConfig": {
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": described["Objectives"][0],
        "ParameterRanges": described["ParameterRanges"],
        **config, "ResourceLimits": limits,
    }}  # fmt: skip
    several = given.get("TrainingJobDefinitions")
    one = several[0] if isinstance(several, list) and len(several) == 1 else several
    if definition := given.get("TrainingJobDefinition") or one:
        made["TrainingJobDefinition"] = definition
    if "WarmStartConfig" in given:
        made["WarmStartConfig"] = given["WarmStartConfig"]
    return made


def tuning_job(
    project: Project, described: Request, name: str, data: dict[str, str], spec: Request
) -> Request:
    """CreateHyperParameterTuningJob. `spec`, by `search`: ranges, objective, strategy and static
    values; the rest is the project's."""
    config = spec["HyperParameterTuningJobConfig"]
    job = training_job(project, described, name, data)
    searched = {
        one["Name"] for group in config["ParameterRanges"].values() for one in group
        if isinstance(one, dict)
    }  # fmt: skip
    given = spec.get("TrainingJobDefinition", {})
    static = {**job["HyperParameters"], **given.get("StaticHyperParameters", {})}
    definitions = given.get("AlgorithmSpecification", {}).get("MetricDefinitions", [])
    algorithm = {
        "TrainingImage": project.image,
        "TrainingInputMode": project.train.input_mode,
        "MetricDefinitions": _merged(definitions, described["MetricDefinitions"]),
    }
    kept = (
        "RoleArn", "InputDataConfig", "OutputDataConfig", "ResourceConfig", "StoppingCondition",
        "EnableNetworkIsolation", "EnableManagedSpotTraining", "VpcConfig", "Environment",
    )  # fmt: skip
    definition = {name: job[name] for name in kept if name in job}
    definition["ResourceConfig"].pop("KeepAlivePeriodInSeconds", None)  # a tuning job has its own
    if project.train.checkpoints:
        definition["CheckpointConfig"] = job["CheckpointConfig"]
    request: Request = {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": config,
        "TrainingJobDefinition": {
            **definition,
            "AlgorithmSpecification": algorithm,
            "StaticHyperParameters": {
                key: value for key, value in static.items() if key not in searched
            },
        },
        "Tags": tags(project),
    }
    if "WarmStartConfig" in spec:
        request["WarmStartConfig"] = spec["WarmStartConfig"]
    return request


def _merged(first: list[Request], more: list[Request]) -> list[Request]:
    """Metric definitions of the file, and those of the image that it does not name."""
    known = {one["Name"] for one in first}
    return [*first, *(one for one in more if one["Name"] not in known)]


def model(project: Project, name: str, artifact: str) -> Request:
    """CreateModel. `artifact`: an s3:// URI of a model.tar.gz; of a prefix of them for several."""
    container: Request = {"Image": project.image, "ModelDataUrl": artifact}
    if project.deploy.kind == "multi-model":
        container["Mode"] = "MultiModel"
    if project.deploy.environment:
        container["Environment"] = project.deploy.environment
    return {
        "ModelName": name,
        "PrimaryContainer": container,
        "ExecutionRoleArn": project.role,
        "EnableNetworkIsolation": project.deploy.kind
        in ("realtime", "async"),  # the others refuse it
        "Tags": tags(project),
    }


def endpoint_config(project: Project, name: str, model_name: str) -> Request:
    """CreateEndpointConfig, of the kind that the project asks for."""
    deploy = project.deploy
    variant: Request = {"VariantName": "all", "ModelName": model_name}
    if deploy.kind == "serverless":
        variant["ServerlessConfig"] = {
            "MemorySizeInMB": deploy.memory_mb, "MaxConcurrency": deploy.concurrency,
        }  # fmt: skip
    else:
        variant |= {
            "InstanceType": deploy.instance,
            "InitialInstanceCount": deploy.count,
            "InitialVariantWeight": 1.0,
        }
    request: Request = {
        "EndpointConfigName": name,
        "ProductionVariants": [variant],
        "Tags": tags(project),
    }
    if deploy.kind == "async":
        request["AsyncInferenceConfig"] = {
            "OutputConfig": {
                "S3OutputPath": f"{project.prefix}/async/output",
                "S3FailurePath": f"{project.prefix}/async/failures",
            },
            "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 8},
        }
    if deploy.capture_percent:
        request["DataCaptureConfig"] = {
            "EnableCapture": True,
            "InitialSamplingPercentage": deploy.capture_percent,
            "DestinationS3Uri": f"{project.prefix}/capture",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
        }
    return request


def deployment(project: Project, alarms: list[str]) -> Request:
    """UpdateEndpoint's DeploymentConfig: blue and green side by side, back on any alarm. A canary
    is at most half of a fleet, so one instance goes all at once (DG/deployment-guardrails)."""
    shift: Request = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": BAKE_SECONDS}
    if project.deploy.count > 1:
        shift |= {"Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 30}}
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": shift,
            "TerminationWaitInSeconds": BAKE_SECONDS,
            "MaximumExecutionTimeoutInSeconds": 4 * HOURS,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]},
    }


def transform_job(project: Project, name: str, model_name: str, source: str) -> Request:
    """CreateTransformJob over every object under `source`, an answer beside each."""
    transform = project.transform
    return {
        "TransformJobName": name,
        "ModelName": model_name,
        "MaxConcurrentTransforms": transform.concurrency,
        "MaxPayloadInMB": min(PAYLOAD_MB, TOGETHER_MB // transform.concurrency),
        "BatchStrategy": "SingleRecord",
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": source}},
            "ContentType": transform.content_type,
            "SplitType": "None",
        },
        "TransformOutput": {
            "S3OutputPath": f"{project.prefix}/transform/{name}",
            "Accept": transform.accept,
            "AssembleWith": "None",
        },
        "TransformResources": {
            "InstanceType": transform.instance, "InstanceCount": transform.count,
        },
        "Tags": tags(project),
    }  # fmt: skip
