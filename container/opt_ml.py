"""The platform's folder tree and configuration files, read once at the edge.

The tree is `/opt/ml` unless SAGEMAKER_BASE_DIR names another one, as the platform's own toolkits
have it. Nothing else in the project knows these paths.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from container.failure import ChannelError, HyperparameterError

BASE_DIR = "SAGEMAKER_BASE_DIR"


def base(environment: dict[str, str] | None = None) -> Path:
    environment = dict(os.environ) if environment is None else environment
    return Path(environment.get(BASE_DIR) or "/opt/ml")


@dataclass(frozen=True)
class Paths:
    root: Path

    @property
    def config(self) -> Path:
        return self.root / "input" / "config"

    @property
    def data(self) -> Path:
        return self.root / "input" / "data"

    @property
    def model(self) -> Path:
        return self.root / "model"

    @property
    def models(self) -> Path:
        """Where the platform unpacks the models of a server that has many."""
        return self.root / "models"

    @property
    def output(self) -> Path:
        return self.root / "output"

    @property
    def output_data(self) -> Path:
        return self.root / "output" / "data"

    @property
    def tensors(self) -> Path:
        return self.root / "output" / "tensors"

    @property
    def profiler(self) -> Path:
        return self.root / "output" / "profiler"

    @property
    def tensorboard(self) -> Path:
        return self.root / "output" / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"


@dataclass(frozen=True)
class Channel:
    """One input as the platform gives it; values are as they came."""

    path: Path
    """Its folder; a pipe's has `_0`, `_1`, ... after it, one per epoch."""
    mode: str = "File"
    content_type: str = ""
    record_wrapper: str = "None"
    distribution: str = "FullyReplicated"

    @property
    def piped(self) -> bool:
        return self.mode == "Pipe"

    @property
    def sharded(self) -> bool:
        """Whether every host has a part of its own."""
        return self.distribution == "ShardedByS3Key"


@dataclass(frozen=True)
class Job:
    """One training job as the platform describes it; values are as they came."""

    name: str
    paths: Paths
    hyperparameters: dict[str, Any]
    inputs: dict[str, Channel]
    hosts: list[str]
    current_host: str
    debug_hook_config: Path | None
    profiler_config: Path
    """May be missing, and may come or change while the job runs."""
    tensorboard: Path
    """Where the platform takes scalars for TensorBoard from, while the job runs."""
    tensorboard_collected: bool = False
    """Whether the platform was told to."""
    debugger_off: bool = False
    """By USE_SMDEBUG, the platform's switch."""

    @property
    def channels(self) -> dict[str, Path]:
        """Those that are folders."""
        return {name: each.path for name, each in self.inputs.items() if not each.piped}

    @classmethod
    def read(cls, root: Path, environment: dict[str, str] | None = None) -> "Job":
        """Raises ChannelError or HyperparameterError where a file is there but not usable."""
        environment = dict(os.environ) if environment is None else environment
        paths = Paths(root)
        hyperparameters = _object(paths.config / "hyperparameters.json", HyperparameterError)
        resources = resource_config(paths)
        hosts = resources.get("hosts") or ["algo-1"]
        hook = environment.get("SMDEBUG_CONFIG_FILE_PATH")
        hook_path = Path(hook) if hook else paths.config / "debughookconfig.json"
        profiler = environment.get("SMPROFILER_CONFIG_PATH")
        return cls(
            name=environment.get("TRAINING_JOB_NAME", ""),
            paths=paths,
            hyperparameters=hyperparameters,
            inputs=_inputs(paths),
            hosts=hosts,
            current_host=resources.get("current_host") or hosts[0],
            debug_hook_config=hook_path if hook_path.is_file() else None,
            profiler_config=Path(profiler) if profiler else paths.config / "profilerconfig.json",
            tensorboard=_tensorboard(paths, environment),
            tensorboard_collected=_tensorboard_config(paths, environment).is_file(),
            debugger_off=environment.get("USE_SMDEBUG", "").lower() in FALSE,
        )


FALSE = ("0", "f", "false", "n", "no", "off")


def _tensorboard_config(paths: Paths, environment: dict[str, str]) -> Path:
    named = environment.get("TENSORBOARD_CONFIG_FILE_PATH")
    return Path(named) if named else paths.config / "tensorboardoutputconfig.json"


def _tensorboard(paths: Paths, environment: dict[str, str]) -> Path:
    config = _tensorboard_config(paths, environment)
    local = _object(config, ChannelError).get("LocalPath")
    if local is None or local == "":
        return paths.tensorboard
    if not isinstance(local, str) or not Path(local).is_absolute():
        raise ChannelError(
            f"{config.name}: LocalPath={local!r} is no absolute path",
            f"leave LocalPath out, which means {paths.tensorboard}",
        )
    return Path(local)


def resource_config(paths: Paths) -> dict[str, Any]:
    """Hosts, interface and instance groups, as they came. Raises ChannelError."""
    return _object(paths.config / "resourceconfig.json", ChannelError)


def _object(path: Path, error: type[ChannelError] | type[HyperparameterError]) -> dict[str, Any]:
    """A JSON object, or an empty one where the file is missing: the platform may leave it out."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as bad:
        raise error(f"{path.name} is not JSON: {bad}", f"write a JSON object to {path}") from bad
    if not isinstance(value, dict):
        raise error(
            f"{path.name} holds a {type(value).__name__}, not an object",
            f"write a JSON object to {path}",
        )
    return value


def _inputs(paths: Paths) -> dict[str, Channel]:
    """Those that the platform configured, else the folders there are. Raises ChannelError."""
    configured = _object(paths.config / "inputdataconfig.json", ChannelError)
    if not configured:
        if not paths.data.is_dir():
            return {}
        folders = sorted(path for path in paths.data.iterdir() if path.is_dir())
        return {path.name: Channel(path) for path in folders if not path.name.startswith(".")}
    inputs, problems = {}, []
    for name, settings in configured.items():
        channel = _channel(paths.data / name, settings if isinstance(settings, dict) else {})
        inputs[name] = channel
        if channel.mode not in ("File", "FastFile", "Pipe"):
            problems.append(f"{name}: TrainingInputMode {channel.mode!r:.40} is not known; "
                            "use File, FastFile or Pipe")  # fmt: skip
        elif not channel.piped and not channel.path.is_dir():
            problems.append(f"{name}: no folder {channel.path}")
    if problems:
        raise ChannelError(f"{len(problems)} channels cannot be read", details=problems)
    return inputs


def _channel(path: Path, settings: dict[str, Any]) -> Channel:
    def told(name: str, default: str) -> str:
        value = settings.get(name)
        return value if isinstance(value, str) and value else default

    return Channel(
        path,
        told("TrainingInputMode", "File"),
        told("ContentType", ""),
        told("RecordWrapperType", "None"),
        told("S3DistributionType", "FullyReplicated"),
    )
