"""The one file that all commands read: what to train on what, with which role, and where it lies.

name = "dog-breeds"
image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/photos@sha256:..."
role = "arn:aws:iam::123456789012:role/sagemaker"
bucket = "s3://my-bucket/dog-breeds"

[data]
train = "~/photos/train"          # a folder is uploaded; an s3:// URI is taken as it is
validation = "~/photos/valid"

[train]
instance = "ml.c5.2xlarge"
hyperparameters = {network = "resnet50", epochs = 10}
"""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jobs import rules, table
from jobs.table import ConfigError

NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,39}")
"""Of 63 characters that a job's name may have 23 are left for the command and the time."""
ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")
S3 = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^?#]*)?")
INSTANCE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9]+")
MODES = ("File", "FastFile", "Pipe")
HOURS = 3600


@dataclass(frozen=True)
class Train:
    instance: str = "ml.c5.2xlarge"
    count: int = 1
    volume_gb: int = 50
    max_hours: float = 24.0
    spot: bool = False
    spot_wait_hours: float = 24.0
    """On top of `max_hours`: for capacity."""
    isolated: bool = True
    """No network from inside the job."""
    keep_alive_minutes: int = 0
    """A warm pool for the next job; costs as much as training."""
    input_mode: Literal["File", "FastFile", "Pipe"] = "FastFile"
    distribution: Literal["FullyReplicated", "ShardedByS3Key"] = "FullyReplicated"
    checkpoints: bool = True
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    debug_hook: bool = False
    profiler: bool = False
    """The platform's. The image's own is a hyperparameter, `profile`."""
    debug_rules: list[str] = field(default_factory=list)
    """Of the platform's own rules; those of the image are hyperparameters."""
    subnets: list[str] = field(default_factory=list)
    security_groups: list[str] = field(default_factory=list)
    kms_key: str = ""


@dataclass(frozen=True)
class Tune:
    spec: str = ""
    """A file: CreateHyperParameterTuningJob's request, as the image's own `tune` reads it."""
    trials: int = 8
    parallel: int = 2


@dataclass(frozen=True)
class Deploy:
    kind: Literal["realtime", "serverless", "async", "multi-model"] = "realtime"
    instance: str = "ml.c5.xlarge"
    count: int = 1
    to_zero: bool = False
    """An asynchronous endpoint has no instance, and costs nothing, while nothing waits."""
    most: int = 1
    """Instances that autoscaling may go up to."""
    requests_per_instance: int = 600
    """Invocations a minute at which autoscaling adds an instance."""
    memory_mb: int = 3072
    concurrency: int = 5
    """Of a serverless endpoint."""
    capture_percent: int = 0
    """Of requests and answers, kept under the bucket's `capture/`."""
    environment: dict[str, str] = field(default_factory=dict)
    alarm_errors: int = 5
    """5xx answers a minute that roll an update back."""
    alarm_latency_ms: int = 10_000

    @property
    def lowest(self) -> int:
        return 0 if self.to_zero else self.count

    @property
    def highest(self) -> int:
        return max(self.count, self.most)


@dataclass(frozen=True)
class Transform:
    instance: str = "ml.c5.xlarge"
    count: int = 1
    content_type: str = "image/jpeg"
    accept: str = "application/jsonlines"
    concurrency: int = 8


@dataclass(frozen=True)
class Project:
    name: str
    image: str
    role: str
    bucket: str
    """`s3://bucket/prefix`: what is uploaded and what comes out lie under it."""
    region: str = ""
    """Empty: that of the AWS configuration."""
    data: dict[str, str] = field(default_factory=dict)
    """Channel -> a folder of this machine, or an s3:// URI."""
    tags: dict[str, str] = field(default_factory=dict)
    prices: dict[str, float] = field(default_factory=dict)
    """Of an hour, by instance type, for `cost`."""
    train: Train = field(default_factory=Train)
    tune: Tune = field(default_factory=Tune)
    deploy: Deploy = field(default_factory=Deploy)
    transform: Transform = field(default_factory=Transform)

    @property
    def prefix(self) -> str:
        return self.bucket.rstrip("/")


def load(path: Path) -> Project:
    """Raises ConfigError with every mistake."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path} is no TOML: {error}"]) from error
    mistakes: list[str] = []
    project = table.read(Project, content, "", mistakes)
    if not mistakes:
        mistakes += _mistakes(project, path.parent)
    if mistakes:
        raise ConfigError(f"{path}: {mistake}" for mistake in mistakes)
    return project


def _mistakes(project: Project, beside: Path) -> list[str]:
    train, deploy = project.train, project.deploy
    checks = [
        (NAME.fullmatch(project.name), "name", project.name,
         "up to 40 letters and digits, with - between"),
        (0 < len(project.image) <= 255 and not re.search(r"\s", project.image), "image",
         project.image, "a registry's name of the image, with a tag or a digest"),
        (ROLE.fullmatch(project.role), "role", project.role,
         "arn:aws:iam::ACCOUNT:role/NAME, that SageMaker may assume"),
        (S3.fullmatch(project.bucket), "bucket", project.bucket, "s3://BUCKET/PREFIX"),
        (INSTANCE.fullmatch(train.instance), "train.instance", train.instance,
         "such as ml.g5.xlarge"),
        (INSTANCE.fullmatch(deploy.instance), "deploy.instance", deploy.instance,
         "such as ml.c5.xlarge"),
        (1 <= train.count <= 100, "train.count", train.count, "1 to 100"),
        (1 <= train.volume_gb <= 16384, "train.volume_gb", train.volume_gb, "1 to 16384"),
        (0 < train.max_hours <= 672, "train.max_hours", train.max_hours, "up to 672, four weeks"),
        (0 <= train.keep_alive_minutes <= 60, "train.keep_alive_minutes", train.keep_alive_minutes,
         "0 to 60"),
        (not (train.spot and train.keep_alive_minutes), "train.keep_alive_minutes",
         train.keep_alive_minutes, "0 with spot: a spot instance is not kept warm"),
        (bool(train.subnets) == bool(train.security_groups), "train.subnets", train.subnets,
         "both subnets and security_groups, or none"),
        (1 <= deploy.count <= deploy.most or deploy.most == 1, "deploy.most", deploy.most,
         f"at least count={deploy.count}"),
        (deploy.kind == "async" or not deploy.to_zero, "deploy.to_zero", deploy.to_zero,
         f"false with kind={deploy.kind!r}: only an asynchronous endpoint can start an instance "
         "for what waits"),
        (0 <= deploy.capture_percent <= 100, "deploy.capture_percent", deploy.capture_percent,
         "0 to 100"),
        (deploy.memory_mb in range(1024, 6145, 1024), "deploy.memory_mb", deploy.memory_mb,
         "1024, 2048, ... 6144"),
        (1 <= deploy.concurrency <= 200, "deploy.concurrency", deploy.concurrency, "1 to 200"),
        (1 <= project.transform.concurrency <= 100, "transform.concurrency",
         project.transform.concurrency, "1 to 100"),
        (not train.debug_rules or project.region in rules.ACCOUNTS, "region", project.region,
         f"with train.debug_rules one of {', '.join(rules.ACCOUNTS)}"),
        (not (deploy.kind == "serverless" and deploy.capture_percent), "deploy.capture_percent",
         deploy.capture_percent, "0: a serverless endpoint captures nothing"),
        (len(project.tags) <= 50, "tags", len(project.tags), "at most 50"),
    ]  # fmt: skip
    wrong = [f"{name}={value!r}: expected {fits}" for fine, name, value, fits in checks if not fine]
    if "train" not in project.data and "training" not in project.data:
        wrong.append("data.train: missing; expected a folder of photos, or an s3:// URI")
    for channel, place in project.data.items():
        if place.startswith("s3://"):
            if not S3.fullmatch(place):
                wrong.append(f"data.{channel}={place!r}: expected s3://BUCKET/PREFIX")
        elif not folder(place, beside).is_dir():
            wrong.append(f"data.{channel}={place!r}: no folder {folder(place, beside)}")
    return wrong


def folder(place: str, beside: Path) -> Path:
    """A path of the file; relative ones are relative to it."""
    return (beside / Path(place).expanduser()).resolve()
