"""/metrics: all that is counted, as the text that Prometheus reads.

The library is imported with this module, by the first scrape: it takes a tenth of a second, which
no start should wait for. The registry is our own: nothing is told but what is listed here.
"""

import os
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from artifact.archive import ArtifactError
from serve import card
from serve.capture import OUTCOMES, Capture
from serve.tally import Histogram
from serve.watch import Facts, Watch, resident_bytes

PREFIX = "image_classification"


def text(watch: Watch, accept: str) -> tuple[bytes, str]:
    """The body and its content type: Prometheus' text, or OpenMetrics' if `accept` prefers it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(watch))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collector(Collector):
    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def describe(self) -> list[Metric]:
        """Without it the registry would collect once more, only to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield from _counted(self._watch)
        yield from _now(self._watch.facts())
        if self._watch.capture is not None:
            yield _captured(self._watch.capture)


def _counted(watch: Watch) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        f"{PREFIX}_requests",
        "Invocations by HTTP status and class of refusal, which is empty for an answer.",
        labels=["model", "status", "refusal"],
    )
    images = CounterMetricFamily(
        f"{PREFIX}_images", "Images that the engine has classified.", labels=["model"]
    )
    total = HistogramMetricFamily(
        f"{PREFIX}_request_seconds",
        "An invocation, from its headers to its answer.",
        labels=["model"],
    )
    stages = HistogramMetricFamily(
        f"{PREFIX}_stage_seconds",
        "What an invocation's time went to: read, decode, queue, engine, encode.",
        labels=["model", "stage"],
    )
    batches = HistogramMetricFamily(
        f"{PREFIX}_batch_images", "Images in a mini-batch of the engine.", labels=["model"]
    )
    for model, tally in watch.tallies().items():
        numbers = tally.numbers()
        for (status, refusal), count in numbers.answers.items():
            requests.add_metric([model, str(status), refusal], count)
        images.add_metric([model], numbers.images)
        total.add_metric([model], _buckets(numbers.total), numbers.total.sum)
        for stage, spent in numbers.stages.items():
            stages.add_metric([model, stage], _buckets(spent), spent.sum)
        batches.add_metric([model], _buckets(numbers.batches), numbers.batches.sum)
    yield from (requests, images, total, stages, batches)


def _now(facts: list[Facts]) -> Iterator[Metric]:
    queue = _gauge("queue_images", "Images that wait for the engine.")
    ready = _gauge("ready", "1 while an engine of the model answers, else 0.")
    restarts = CounterMetricFamily(
        f"{PREFIX}_engine_restarts", "Engines that were replaced.", labels=["model"]
    )
    described = InfoMetricFamily(f"{PREFIX}_model", "What is served, and by which engine.")
    memory = GaugeMetricFamily(
        f"{PREFIX}_resident_memory_bytes",
        "Resident memory of the HTTP process, and of each model's engines.",
        labels=["process", "model"],
    )
    memory.add_metric(["http", ""], resident_bytes(os.getpid()))
    for each in facts:
        queue.add_metric([each.name], each.waiting)
        ready.add_metric([each.name], float(each.ready))
        restarts.add_metric([each.name], each.restarts)
        described.add_metric([], _info(each))
        memory.add_metric(["engine", each.name], each.engine_bytes)
    yield from (queue, ready, restarts, described, memory)


def _captured(capture: Capture) -> Metric:
    photos = CounterMetricFamily(
        f"{PREFIX}_captured_photos",
        "Photos drawn for capture: written, or dropped by a slow disk, full or failed.",
        labels=["outcome"],
    )
    for outcome in OUTCOMES:
        photos.add_metric([outcome], capture.counts[outcome])
    return photos


def _gauge(name: str, meaning: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", meaning, labels=["model"])


def _info(facts: Facts) -> dict[str, str]:
    told = {"model": facts.name, "engine": facts.engine if facts.ready else ""}
    try:
        found = card.read(facts.model.folder)
    except ArtifactError:  # it may be replaced or gone at this moment; the next scrape will see
        return told
    return {
        **told,
        "network": found.network,
        "labels": str(len(found.labels)),
        "image_size": found.image_size,
        "weights": found.weights,
    }


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus has them."""
    bounds = [*(str(float(bound)) for bound in histogram.bounds), "+Inf"]
    seen, buckets = 0, []
    for bound, count in zip(bounds, histogram.counts, strict=True):
        seen += count
        buckets.append((bound, float(seen)))
    return buckets
