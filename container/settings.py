"""Settings: environment variables, declared once, all mistakes reported at once."""

import importlib.util
import os
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, TypeVar

from container import resources
from container.failure import SettingError

MIB = 1 << 20
MAX_HTTP_THREADS = 256
MAX_BATCH_PAYLOAD_MIB = 100
"""The platform's own limit of one request of batch transform."""

MOST_BATCH_IMAGES = 8
"""In a mini-batch of any engine, where nobody says otherwise."""
REAL_TIME_SECONDS = 60
BATCH_SECONDS = 3600
"""When the platform gives a request up: of an endpoint always, of batch transform at the latest."""

T = TypeVar("T")
Network = IPv4Network | IPv6Network


def declare(
    default: T,
    meaning: str,
    *names: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> T:
    """A setting: its environment variables (the first that is set counts), type and range."""
    metadata = {"names": names, "meaning": meaning, "low": low, "high": high, "choices": choices}
    # dataclasses' own typing: the field stands for a value of the default's type
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    port: int = declare(8080, "Port of the server.", "SAGEMAKER_BIND_TO_PORT", low=1, high=65535)
    batch_transform: str = declare(
        "false",
        "Set by batch transform, which waits longer for an answer than an endpoint does.",
        "SAGEMAKER_BATCH",
        choices=("false", "true"),
    )
    timeout_seconds: int = declare(
        0,
        "Time for one request; 0 is the platform's: 60 s, and 3,600 s in batch transform. Set it "
        "for an asynchronous endpoint.",
        "SAGEMAKER_MODEL_SERVER_TIMEOUT",
        "MODEL_SERVER_TIMEOUT",
        low=0,
        high=3600,
    )
    http_threads: int = declare(
        0,
        "Threads that decode and wait for the engine; 0 plans as many as keep it fed.",
        "HTTP_THREADS",
        low=0,
        high=1024,
    )
    max_payload_mib: int = declare(
        25,
        "Largest request body in MiB, 413 above it; 0 (no limit, to batch transform) is 100.",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB",
        low=0,
        high=1024,
    )
    max_pixels: int = declare(
        50_000_000,
        "Most pixels of one photo, read from its header before decoding; 413 above it.",
        "MAX_PIXELS",
        low=1,
        high=500_000_000,
    )
    max_items: int = declare(
        64, "Most photos in one request; 413 above it.", "MAX_ITEMS", low=1, high=4096
    )
    allow_urls: bool = declare(
        False, 'Fetch the photo of {"url": ...}, from public addresses only.', "ALLOW_URLS"
    )
    url_seconds: int = declare(
        10, "Time to fetch one of them, redirects included.", "URL_SECONDS", low=1, high=600
    )
    url_networks: str = declare(
        "",
        "Networks that such a URL may lead to beside the public ones: 10.1.2.0/24,fd00:1::/64.",
        "URL_NETWORKS",
    )
    queue_images: int = declare(
        256,
        "Photos that may wait for the engine; 503 with Retry-After beyond it.",
        "QUEUE_IMAGES",
        low=1,
        high=65536,
    )
    batch_images: int = declare(
        0,
        "Most photos in one mini-batch of the engine; 0 takes what the engine gains from.",
        "BATCH_IMAGES",
        low=0,
        high=1024,
    )
    engine_threads: int = declare(
        0,
        "Processor threads of one engine; 0 plans them from the processors.",
        "ENGINE_THREADS",
        low=0,
        high=1024,
    )
    engine_streams: int = declare(
        0,
        "Mini-batches that one compiled engine computes at a time; 0 plans them.",
        "ENGINE_STREAMS",
        low=0,
        high=64,
    )
    engine_memory_mib: int = declare(
        0,
        "Replaces an engine that has grown beyond it, with no request failed; 0 plans it.",
        "ENGINE_MEMORY_MIB",
        low=0,
        high=1_048_576,
    )
    precision: str = declare(
        "auto",
        "Arithmetic of the engine; auto takes the compiled engine's, on a GPU the quickest that is "
        "near enough, else bfloat16 where the hardware multiplies in it.",
        "PRECISION",
        choices=("auto", "float32", "bfloat16", "float16", "int8"),
    )
    top_k: int = declare(
        5, "Labels per answer where the request names no top_k.", "TOP_K", low=1, high=100_000
    )
    accept: str = declare(
        "auto",
        "Type of the answer where the request's Accept leaves it open; auto answers JSON Lines "
        "line for line, and all else in JSON.",
        "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT",
        choices=(
            "auto",
            "application/json",
            "application/json;verbose",
            "application/jsonlines",
            "text/csv",
            "application/x-npy",
        ),
    )
    multi_model: str = declare(
        "false",
        "Many models, loaded and unloaded by requests; the platform sets it.",
        "SAGEMAKER_MULTI_MODEL",
        choices=("false", "true"),
    )
    models_memory_mib: int = declare(
        0,
        "Most memory of all loaded models in MiB, 507 beyond it; 0 is what the container has.",
        "MODELS_MEMORY_MIB",
        low=0,
        high=16 << 20,
    )
    log_level: str = declare(
        "info",
        "Least severe line that is logged.",
        "LOG_LEVEL",
        choices=("debug", "info", "warning", "error"),
    )

    log_format: str = declare(
        "text",
        "Form of a log line; json has the inference id in a field of its own.",
        "LOG_FORMAT",
        choices=("text", "json"),
    )
    capture_folder: str = declare(
        "",
        "Folder for photos that the model is not sure of; none are kept without it.",
        "CAPTURE_FOLDER",
    )
    capture_below: int = declare(
        50,
        "Per cent of the highest probability below which a photo may be kept.",
        "CAPTURE_BELOW",
        low=1,
        high=100,
    )
    capture_percent: int = declare(
        10, "Share of those photos that are kept, in per cent.", "CAPTURE_PERCENT", low=1, high=100
    )
    capture_mib: int = declare(
        100, "Most MiB of kept photos.", "CAPTURE_MIB", low=1, high=1_000_000
    )
    page: bool = declare(False, "Answer GET / with a page to try the model by hand.", "PAGE")
    metrics: bool = declare(True, "Answer GET /metrics, which the platform scrapes.", "METRICS")
    record_seconds: int = declare(
        60,
        "Seconds between records in CloudWatch's embedded format on standard output; 0 is none.",
        "METRICS_RECORD_SECONDS",
        low=0,
        high=3600,
    )
    metrics_namespace: str = declare(
        "ImageClassification", "Their namespace in CloudWatch.", "METRICS_NAMESPACE"
    )
    model_name: str = declare(
        "model", "What metrics and records call a model that is served alone.", "MODEL_NAME"
    )

    def __post_init__(self) -> None:
        networks(self.url_networks)

    @classmethod
    def read(cls, environment: dict[str, str] | None = None) -> "Settings":
        """Raises SettingError with every value that cannot be used."""
        return read(cls, environment)

    @property
    def max_payload_bytes(self) -> int:
        if self.is_batch:  # the caller is the platform, which says nothing of its own limit
            return max(self.max_payload_mib, MAX_BATCH_PAYLOAD_MIB) * MIB
        return (self.max_payload_mib or MAX_BATCH_PAYLOAD_MIB) * MIB

    @property
    def is_batch(self) -> bool:
        return self.batch_transform == "true"

    @property
    def lines_at_a_time(self) -> int:
        """Of a batch job's JSON Lines: as many from every thread as may wait for the engine."""
        return max(1, min(self.item_limit, self.queue_images // self.planned_http_threads))

    @property
    def request_limit(self) -> int:
        """Whole requests at a time, waiting for a thread or with one; 503 beyond it."""
        return max(self.planned_http_threads, min(256, self.queue_images))

    @property
    def most_batch_images(self) -> int:
        """In one mini-batch of any engine; one that gains from fewer takes fewer."""
        return self.batch_images or MOST_BATCH_IMAGES

    @property
    def planned_http_threads(self) -> int:
        """While an engine works on a batch the next one should wait, decoded, and the one after it
        be on its way: more threads would only hold more photos."""
        needed = resources.cpu_count() + 2 * self.most_batch_images * max(1, self.gpus)
        return self.http_threads or min(MAX_HTTP_THREADS, needed)

    @property
    def gpus(self) -> int:
        """That engines compute on, one each: none of many models, by the platform's rule, and none
        without torch, for a compiled engine is the processors'."""
        count = resources.gpu_count()
        if not count or self.multi_model == "true" or importlib.util.find_spec("torch") is None:
            return 0
        return count

    @property
    def deadline_seconds(self) -> float:
        """Of one request, a little before the caller gives up, so that it reads the reason."""
        platform = BATCH_SECONDS if self.batch_transform == "true" else REAL_TIME_SECONDS
        seconds = self.timeout_seconds or platform
        return seconds - min(5.0, seconds / 10)

    @property
    def item_limit(self) -> int:
        """More could never enter the queue."""
        return min(self.max_items, self.queue_images)


def networks(text: str) -> tuple[Network, ...]:
    """Of a list with commas. Raises SettingError."""
    try:
        return tuple(ip_network(each.strip()) for each in text.split(",") if each.strip())
    except ValueError as error:
        raise SettingError(f"URL_NETWORKS={text!r}: {error}") from None


def read(kind: type[T], environment: dict[str, str] | None = None) -> T:
    """The settings that the dataclass `kind` declares. Raises SettingError with every value that
    cannot be used."""
    environment = dict(os.environ) if environment is None else environment
    values: dict[str, Any] = {}
    mistakes = []
    for setting in fields(kind):  # type: ignore[arg-type]
        for name in setting.metadata["names"]:
            if not environment.get(name):
                continue
            try:
                values[setting.name] = _parse(environment[name], setting)
            except ValueError as error:
                mistakes.append(f"{name}={environment[name]!r}: expected {error}")
            break
    if mistakes:
        raise SettingError(f"{len(mistakes)} settings cannot be used", details=mistakes)
    return kind(**values)


def _parse(text: str, setting: Any) -> int | str | bool:
    """The value, or a ValueError that says what was expected."""
    choices, low, high = (setting.metadata[key] for key in ("choices", "low", "high"))
    if setting.type is bool:
        if text.strip().lower() not in ("true", "false"):
            raise ValueError("true or false")
        return text.strip().lower() == "true"
    if setting.type is str and not choices:
        return text.strip()
    if setting.type is str:
        value = "".join(text.lower().split())
        if value not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return value
    expected = f"a whole number from {low} to {high}"
    try:
        number = int(text.strip())
    except ValueError:
        raise ValueError(expected) from None
    if not low <= number <= high:
        raise ValueError(expected)
    return number
