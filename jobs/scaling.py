"""Instances that come and go with the work, and the alarms of an endpoint."""

from typing import Any

from botocore.exceptions import ClientError

from jobs.aws import Aws, missing
from jobs.project import Project
from jobs.watch import Say

Request = dict[str, Any]

COOLDOWN_SECONDS = 300


def alarms(project: Project, endpoint: str) -> list[Request]:
    """PutMetricAlarm: errors, and latency, of the endpoint."""
    deploy = project.deploy
    shared: Request = {
        "Namespace": "AWS/SageMaker",
        "Dimensions": [
            {"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "all"},
        ],
        "Period": 60,
        "EvaluationPeriods": 1,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    }  # fmt: skip
    return [
        {
            **shared, "AlarmName": f"{endpoint}-errors", "MetricName": "Invocation5XXErrors",
            "Statistic": "Sum", "Threshold": float(deploy.alarm_errors),
        },
        {
            **shared, "AlarmName": f"{endpoint}-latency", "MetricName": "ModelLatency",
            "ExtendedStatistic": "p99", "Threshold": deploy.alarm_latency_ms * 1000.0,
        },
    ]  # fmt: skip


def scales(project: Project) -> bool:
    deploy = project.deploy
    return deploy.kind != "serverless" and deploy.highest > deploy.lowest


def wakes(project: Project) -> bool:
    """Whether there may be no instance, which target tracking starts only for a backlog above its
    target: what starts the first one is a policy of its own (DG/async-inference-autoscale)."""
    return scales(project) and project.deploy.lowest == 0


def scalable_target(project: Project, endpoint: str) -> Request:
    """RegisterScalableTarget."""
    return {
        **_where(endpoint),
        "MinCapacity": project.deploy.lowest,
        "MaxCapacity": project.deploy.highest,
    }


def _where(endpoint: str) -> Request:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/all",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def scaling_policy(project: Project, endpoint: str) -> Request:
    """PutScalingPolicy: as many instances as hold the target."""
    if project.deploy.kind == "async":
        metric: Request = {
            "CustomizedMetricSpecification": {
                "MetricName": "ApproximateBacklogSizePerInstance",
                "Namespace": "AWS/SageMaker",
                "Dimensions": [{"Name": "EndpointName", "Value": endpoint}],
                "Statistic": "Average",
            },
            "TargetValue": 5.0,
        }
    else:
        metric = {
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
            },
            "TargetValue": float(project.deploy.requests_per_instance),
        }
    return {
        **_where(endpoint),
        "PolicyName": f"{endpoint}-scaling",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            **metric,
            "ScaleInCooldown": COOLDOWN_SECONDS,
            "ScaleOutCooldown": COOLDOWN_SECONDS // 5,
        },
    }


def waking_policy(endpoint: str) -> Request:
    """PutScalingPolicy: one instance more, whenever the alarm of `waking_alarm` rings."""
    return {
        **_where(endpoint),
        "PolicyName": f"{endpoint}-waking",
        "PolicyType": "StepScaling",
        "StepScalingPolicyConfiguration": {
            "AdjustmentType": "ChangeInCapacity",
            "MetricAggregationType": "Average",
            "Cooldown": COOLDOWN_SECONDS,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
        },
    }


def waking_alarm(endpoint: str, policy_arn: str) -> Request:
    """PutMetricAlarm: requests wait and no instance is there."""
    return {
        "AlarmName": f"{endpoint}-waking",
        "Namespace": "AWS/SageMaker",
        "MetricName": "HasBacklogWithoutCapacity",
        "Dimensions": [{"Name": "EndpointName", "Value": endpoint}],
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 2,
        "DatapointsToAlarm": 2,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "missing",
        "AlarmActions": [policy_arn],
    }


def shown(project: Project, endpoint: str) -> Request:
    """What a dry run of `deploy` prints: calls and their requests."""
    if project.deploy.kind == "serverless":
        return {}
    ringing = alarms(project, endpoint)
    if not scales(project):
        return {"PutMetricAlarm": ringing}
    policies = [scaling_policy(project, endpoint)]
    if wakes(project):
        policies.append(waking_policy(endpoint))
        ringing.append(waking_alarm(endpoint, "ARN of the second policy"))
    return {
        "PutMetricAlarm": ringing,
        "RegisterScalableTarget": scalable_target(project, endpoint),
        "PutScalingPolicy": policies,
    }


def start(aws: Aws, project: Project, say: Say) -> None:
    """Once the endpoint is in service: scaling cannot be asked for before."""
    name, deploy = project.name, project.deploy
    if not scales(project):
        if deploy.kind != "serverless":
            stop(aws, name)
        return
    aws.autoscaling.register_scalable_target(**scalable_target(project, name))
    aws.autoscaling.put_scaling_policy(**scaling_policy(project, name))
    if wakes(project):
        made = aws.autoscaling.put_scaling_policy(**waking_policy(name))
        aws.cloudwatch.put_metric_alarm(**waking_alarm(name, made["PolicyARN"]))
    else:
        silence(aws, [f"{name}-waking"])
    say(f"{name}: scales between {deploy.lowest} and {deploy.highest} instances")


def stop(aws: Aws, endpoint: str) -> None:
    """The policies go with the target, the alarm does not."""
    try:
        aws.autoscaling.deregister_scalable_target(**_where(endpoint))
    except ClientError as error:
        if not missing(error):
            raise
    silence(aws, [f"{endpoint}-waking"])


def silence(aws: Aws, alarm_names: list[str]) -> int:
    """Deletes those alarms that there are. Returns how many."""
    there = aws.cloudwatch.describe_alarms(AlarmNames=alarm_names).get("MetricAlarms", [])
    if there:
        aws.cloudwatch.delete_alarms(AlarmNames=[each["AlarmName"] for each in there])
    return len(there)
