"""The way of one request to /invocations: body -> images -> engine -> the accepted type."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import repeat

from container.settings import networks
from serve import accept, answer, attributes, payload, trace
from serve.answer import Form, Outcome
from serve.attributes import CUSTOM_ATTRIBUTES
from serve.batcher import Answer
from serve.entry import Entry
from serve.front.received import Received
from serve.heat import asked, overlay
from serve.heat.explain import explain
from serve.heat.grid import Heat
from serve.readiness import READY
from serve.refusal import AbandonedError, BusyError, PayloadError
from serve.server import Server
from serve.urls.address import Rule
from serve.urls.fetch import Limits, fetch
from serve.urls.gather import gather


def answer_to(
    server: Server, entry: Entry, received: Received, query: Mapping[str, str]
) -> tuple[bytes, str]:
    """The body of the answer of the model that was asked for, and its type.

    Raises a Refusal for what cannot be answered; its class says whose fault that is.
    """
    settings, model = server.settings, entry.model
    custom_attributes = received.header(CUSTOM_ATTRIBUTES)
    trace.asks(entry.name, attributes.timing(query.get("timing"), custom_attributes))
    state = entry.readiness.whole()
    if state.name != READY:
        raise BusyError(f"no engine is ready: {state.reason}", state=state.name)
    content_type = received.header("Content-Type")
    payload.check_type(content_type)
    more = (accept.PNG,) if asked.wants_heat(query, custom_attributes) else ()
    default = accept.default(settings.accept, payload.mimetype(content_type))
    wanted = accept.choose(received.header("Accept"), default, more)
    explained = asked.read(query, custom_attributes, model.labels, wanted)
    bare = attributes.bare(query.get("answer"), custom_attributes)
    top_k = attributes.top_k(query.get("top_k"), custom_attributes, settings.top_k)
    trace.mark("read", received.whole)
    trace.mark("queue", received.taken)
    body = received.body.getvalue()
    rules = payload.Rules(
        model.preprocessing,
        settings.max_pixels,
        settings.item_limit,
        settings.allow_urls,
        settings.lines_at_a_time if settings.is_batch and wanted != accept.PNG else 0,
    )
    # a batch job wants a line for each line, also where all failed
    line_for_line = settings.is_batch and payload.mimetype(content_type) == payload.JSON_LINES
    written = answer.Writer(Form(wanted, model.labels, top_k, model.thresholds, bare))
    pictures: list[overlay.Picture] = []
    single = False
    for read in payload.pieces(body, content_type, rules):
        with _decoding(server, received):
            decoded = read()
        trace.mark("decode")
        items, single = decoded.items, decoded.single
        if settings.allow_urls:
            items = gather(items, _fetcher(server, rules, received), received.deadline)
            trace.mark("read")
        answered = _classify(entry, items, received, explained)
        if (capture := server.watch.capture) is not None:
            capture.offer(entry.name, model.labels, body, single, items, answered)
        if not line_for_line:
            answer.check(answered)
        if wanted == accept.PNG:
            pictures += overlay.pictures(items, answered, model.preprocessing)
        else:
            written.add(answered)
        trace.mark("encode")
    given = (overlay.png(pictures), accept.PNG) if wanted == accept.PNG else written.whole(single)
    trace.mark("encode")
    return given


@contextmanager
def _decoding(server: Server, received: Received) -> Iterator[None]:
    """As many at a time as there are processors: more would only take more memory."""
    if not server.decoding.acquire(timeout=max(0.0, received.deadline - time.monotonic())):
        raise BusyError("the request's time ran out while it waited to be decoded")
    try:
        if received.hung_up.is_set():
            raise AbandonedError("the client hung up")
        yield
    finally:
        server.decoding.release()


def _fetcher(
    server: Server, rules: payload.Rules, received: Received
) -> Callable[[str], payload.Image]:
    settings = server.settings
    rule = Rule(networks(settings.url_networks))

    def read(url: str) -> payload.Image:
        seconds = min(settings.url_seconds, max(0.001, received.deadline - time.monotonic()))
        data = fetch(url, rule, Limits(settings.max_payload_bytes, seconds))
        with _decoding(server, received):
            return payload.photo(data, rules)

    return read


def _classify(
    entry: Entry, items: list[payload.Item], received: Received, explained: asked.Asked | None
) -> list[Outcome]:
    """An outcome for each item; only those that could be read are sent to the engine."""
    images = [item.image for item in items if item.image is not None]

    def classify(some: list[payload.Image], label: int | None = None) -> list[Answer]:
        return entry.batcher.classify(some, received.deadline, received.hung_up, label)

    heats: Iterator[Heat | None] = repeat(None)
    if not images:
        answers: Iterator[Answer] = iter(())
    elif explained is None:
        answers = iter(classify(images))
    else:
        classes, room = len(entry.model.labels), entry.batcher.limit
        found = explain(images, classes, explained, classify, room)
        answers, heats = iter([row for row, _ in found]), iter([heat for _, heat in found])
    outcomes = []
    for item in items:
        if item.image is None:
            outcomes.append(Outcome(error=item.error, id=item.id))
            continue
        given, heat = next(answers), next(heats)
        if isinstance(given, PayloadError):
            outcomes.append(Outcome(error=given, id=item.id))
        elif answer.is_distribution(given):
            outcomes.append(Outcome(given, id=item.id, heat=heat))
        else:
            error = PayloadError("the numbers are too large for the network; normalise them")
            outcomes.append(Outcome(error=error, id=item.id))
    return outcomes
