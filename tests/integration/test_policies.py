"""Each command's policy allows every call that it makes, and nothing that it never makes."""

import base64
import fnmatch
import json
import re
import time
from urllib.parse import urlsplit

import pytest
import requests

from tests.account import FILE, jobs, trained

SERVICES = {"SageMaker": "sagemaker", "Logs_20140328": "logs",
            "AnyScaleFrontendService": "application-autoscaling",
            "GraniteServiceVersion20100801": "cloudwatch"}  # fmt: skip
ROLE = "arn:aws:iam::123456789012:role/sagemaker"
HERE = "us-east-1:123456789012"
KINDS = {
    "TrainingJobName": "training-job", "HyperParameterTuningJobName": "hyper-parameter-tuning-job",
    "TransformJobName": "transform-job", "ModelName": "model",
    "EndpointConfigName": "endpoint-config", "EndpointName": "endpoint",
}  # fmt: skip
MAIN = {"CreateEndpoint": ["EndpointName", "EndpointConfigName"]}
"""Of calls that name several things, those that the permission is asked for."""

IMPLIED = {
    "logs:DescribeLogStreams": ["logs:GetLogEvents"],
    "sagemaker:ListTrainingJobs": ["sagemaker:StopTrainingJob", "sagemaker:DescribeTrainingJob"],
    "sagemaker:ListHyperParameterTuningJobs": [
        "sagemaker:StopHyperParameterTuningJob", "sagemaker:DescribeHyperParameterTuningJob",
    ],
    "sagemaker:ListTransformJobs": [
        "sagemaker:StopTransformJob", "sagemaker:DescribeTransformJob",
    ],
    "sagemaker:CreateTrainingJob": ["s3:DeleteObject"],
    "sagemaker:CreateHyperParameterTuningJob": ["s3:DeleteObject"],
    "application-autoscaling:RegisterScalableTarget": [
        "sagemaker:UpdateEndpointWeightsAndCapacities", "sagemaker:DescribeEndpointConfig",
    ],
    "application-autoscaling:PutScalingPolicy": [
        "cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms", "iam:CreateServiceLinkedRole",
    ],
    "sagemaker:DeleteEndpoint": ["sagemaker:DescribeEndpointConfig"],
    "s3:GetObject": ["s3:ListBucket"],
    "sagemaker:CreateEndpoint": [
        "sagemaker:UpdateEndpoint", "sagemaker:DeleteEndpoint", "logs:DescribeLogStreams",
        "logs:GetLogEvents", "application-autoscaling:DeregisterScalableTarget",
    ],
}  # fmt: skip
"""What follows in a real account and never in this one, whose jobs end at once: a job that runs is
stopped, a log has lines, an endpoint is updated, or fails, or is still there while it is deleted;
and what only --prune does.
Who may not list a bucket is told that a missing object is forbidden. The scaling service checks the
caller's own permissions (DG/endpoint-auto-scaling-prerequisites)."""


@pytest.fixture
def recorded(account):
    """Calls the server has had since the last one: action -> resources."""
    where = f"{account['AWS_ENDPOINT_URL']}/moto-api/recorder"

    def calls():
        text = requests.get(f"{where}/download-recording", timeout=30).text
        requests.post(f"{where}/reset-recording", timeout=10)
        found = {}
        for line in filter(None, text.splitlines()):
            for action, resource in _permissions(json.loads(line)):
                found.setdefault(action, set()).add(resource)
        return found

    requests.post(f"{where}/reset-recording", timeout=10)
    requests.post(f"{where}/start-recording", timeout=10)
    yield calls
    requests.post(f"{where}/stop-recording", timeout=10)


def _permissions(entry):
    """What a request asks to be allowed: pairs of action and resource."""
    headers = {name.lower(): value for name, value in entry["headers"].items()}
    url, body = urlsplit(entry["url"]), entry["body"] or ""
    raw = base64.b64decode(body) if entry["body_encoded"] else body.encode()
    if "x-amz-target" in headers:
        service, _, operation = headers["x-amz-target"].partition(".")
        return _named(SERVICES[service], operation, json.loads(raw or b"{}"))
    if found := re.fullmatch(r"/endpoints/([^/]+)/(async-)?invocations", url.path):
        action = "InvokeEndpointAsync" if found.group(2) else "InvokeEndpoint"
        return [(f"sagemaker:{action}", f"arn:aws:sagemaker:{HERE}:endpoint/{found.group(1)}")]
    return _stored(entry["method"], url, headers, raw)


def _named(service, operation, asked):
    if service == "logs":
        return [(f"logs:{operation}", f"arn:aws:logs:{HERE}:log-group:{asked['logGroupName']}")]
    if service == "cloudwatch":
        names = asked.get("AlarmNames") or [asked["AlarmName"]]
        return [(f"cloudwatch:{operation}", f"arn:aws:cloudwatch:{HERE}:alarm:{name}")
                for name in names]  # fmt: skip
    if service != "sagemaker" or operation.startswith("List"):
        return [(f"{service}:{operation}", "*")]
    names = [key for key in KINDS if isinstance(asked.get(key), str)]
    main = MAIN.get(operation) or [name for name in names if name[:-4] in operation] or names
    arns = [f"arn:aws:sagemaker:{HERE}:{KINDS[name]}/{asked[name]}" for name in main]
    pairs = [(f"sagemaker:{operation}", arn) for arn in arns]
    if asked.get("Tags"):
        pairs.append(("sagemaker:AddTags", arns[0]))
    if "RoleArn" in asked or "ExecutionRoleArn" in asked or "TrainingJobDefinition" in asked:
        pairs.append(("iam:PassRole", ROLE))
    return pairs


def _stored(method, url, headers, raw):
    bucket, _, key = url.path.lstrip("/").partition("/")
    if key == "":
        if "delete" in url.query:
            keys = re.findall(r"<Key>([^<]+)</Key>", raw.decode())
            return [("s3:DeleteObject", f"arn:aws:s3:::{bucket}/{each}") for each in keys]
        assert method in ("GET", "HEAD"), (method, url)
        return [("s3:ListBucket", f"arn:aws:s3:::{bucket}")]
    action = "s3:GetObject" if method in ("GET", "HEAD") else "s3:PutObject"
    pairs = [(action, f"arn:aws:s3:::{bucket}/{key}")]
    if source := headers.get("x-amz-copy-source"):
        pairs.append(("s3:GetObject", f"arn:aws:s3:::{source.lstrip('/')}"))
    return pairs


def policy(account, project, command):
    return json.loads(jobs(account, project, "policy", command).stdout)["Statement"]


def allowed(statements, action, resource):
    return any(
        action in one["Action"] and any(fnmatch.fnmatchcase(resource, each)
                                        for each in one["Resource"])
        for one in statements
    )  # fmt: skip


def check(account, project, command, calls):
    statements = policy(account, project, command)
    refused = [(action, resource) for action, resources in calls.items() for resource in resources
               if not allowed(statements, action, resource)]  # fmt: skip
    assert not refused
    asked = set(calls)
    asked |= {more for action in calls for more in IMPLIED.get(action, ())}
    granted = {action for one in statements for action in one["Action"]}
    unused = granted - asked
    assert not unused


def test_training(account, project, recorded):
    jobs(account, project, "train")
    (project / "photos" / "big.jpg").write_bytes(b"x" * (17 << 20))  # in parts
    for _ in range(2):  # what is there is asked about
        jobs(account, project, "train", "--no-wait", "--new")

    check(account, project, "train", recorded())


def test_searching(account, project, recorded):
    jobs(account, project, "tune")
    (project / "photos" / "big.jpg").write_bytes(b"x" * (17 << 20))
    for _ in range(2):
        jobs(account, project, "tune", "--no-wait", "--new")

    check(account, project, "tune", recorded())


def test_looking(account, client, project, recorded):
    jobs(account, project, "tune", "--no-wait")
    name = trained(account, client, project)
    jobs(account, project, "deploy")
    logs, group = client("logs"), "/aws/sagemaker/TrainingJobs"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=f"{name}/algo-1-1")
    logs.put_log_events(
        logGroupName=group, logStreamName=f"{name}/algo-1-1",
        logEvents=[{"timestamp": int(time.time() * 1000), "message": "x"}],
    )  # fmt: skip

    for command in ("diagnose", "status", "cost", "logs"):
        recorded()
        jobs(account, project, command)
        check(account, project, command, recorded())


def test_endpoints(account, client, project, recorded):
    together = {}
    for kind in ("realtime", "async", "multi-model"):
        scaled = "to_zero = true" if kind == "async" else "most = 3"
        (project / "dogs.toml").write_text(FILE.format(deploy=f'kind = "{kind}"\n{scaled}'))
        trained(account, client, project)
        recorded()
        for _ in range(2):
            jobs(account, project, "deploy")
        for action, resources in recorded().items():
            together.setdefault(action, set()).update(resources)
        jobs(account, project, "delete")

    check(account, project, "deploy", together)


def test_asking(account, client, project, recorded):
    photo = str(project / "photos" / "ant" / "0.jpg")
    (project / "dogs.toml").write_text(FILE.format(deploy='kind = "async"'))
    trained(account, client, project)
    jobs(account, project, "deploy")
    recorded()
    jobs(account, project, "invoke", photo)
    (project / "dogs.toml").write_text(FILE.format(deploy=""))
    jobs(account, project, "invoke", photo, check=False)  # this server takes no JPEG

    calls = recorded()
    # this server answers in a bucket of its own, the platform where the endpoint says
    calls["s3:GetObject"] = {
        each for each in calls["s3:GetObject"] if "sagemaker-output" not in each
    }
    check(account, project, "invoke", calls)


def test_batches(account, client, project, recorded):
    trained(account, client, project)
    recorded()
    jobs(account, project, "transform", "s3://dogs-bucket/photos")

    check(account, project, "transform", recorded())


def test_deleting(account, client, project, recorded):
    trained(account, client, project)
    jobs(account, project, "deploy")
    jobs(account, project, "tune", "--no-wait")
    recorded()
    jobs(account, project, "delete", "--data")

    check(account, project, "delete", recorded())


def test_a_policy_names_the_projects_own_things(account, project):
    text = (project / "dogs.toml").read_text().replace("arn:aws:iam", "arn:aws-cn:iam")
    (project / "dogs.toml").write_text(text.replace("role/sagemaker", "role/NAME-of-BUCKET"))

    statements = policy(account, project, "train")

    resources = {each for one in statements for each in one["Resource"]}
    assert "arn:aws-cn:sagemaker:*:123456789012:training-job/dogs-*" in resources
    assert "arn:aws-cn:s3:::dogs-bucket/project/*" in resources
    assert "arn:aws-cn:iam::123456789012:role/NAME-of-BUCKET" in resources
