"""What was measured of several servers -> figures, ratios and the lines of a table."""

import math
import statistics
from typing import Any

from benchmarks.load import Load
from benchmarks.servers import OURS

SPEED = ("images_per_second", "p50_ms", "p99_ms")
TITLES = {
    "images_per_second": ("images/s", "higher"),
    "p50_ms": ("p50 latency, ms", "lower"),
    "p99_ms": ("p99 latency, ms", "lower"),
}
WHOLE = {
    "start_seconds": ("start to first /ping 200, s", "lower"),
    "peak_memory_mib": ("peak resident memory, MiB", "lower"),
    "memory_mib": ("memory after the load, MiB", "lower"),
}


def summarise(
    starts: list[float], loads: dict[int, list[Load]], memory: dict[str, float]
) -> dict[str, Any]:
    """Of one server: `loads` by concurrency, one per round."""
    return {
        "start_seconds": round(statistics.median(starts), 3),
        "starts": [round(seconds, 3) for seconds in starts],
        **{key: round(value, 1) for key, value in memory.items()},
        "at": {str(concurrency): speed(rounds) for concurrency, rounds in loads.items()},
    }


def speed(rounds: list[Load]) -> dict[str, Any]:
    """Of all rounds together; `rounds` shows how far they are apart."""
    latencies = sorted(each for one in rounds for each in one.latencies_ms)
    seconds = sum(one.seconds for one in rounds)
    return {
        "images_per_second": round(len(latencies) / seconds, 3),
        "p50_ms": round(percentile(latencies, 0.50), 2),
        "p99_ms": round(percentile(latencies, 0.99), 2),
        "answers": len(latencies),
        "rounds": [round(len(one.latencies_ms) / one.seconds, 3) for one in rounds],
        "client_cpu": round(sum(one.cpu_seconds for one in rounds) / seconds, 4),
    }


def percentile(ordered: list[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def ratio(ours: dict[str, Any], peer: dict[str, Any]) -> dict[str, Any]:
    """Ours divided by the peer's, whatever is measured."""
    return {
        **{key: round(ours[key] / peer[key], 3) for key in WHOLE},
        "at": {
            at: {name: round(ours["at"][at][name] / peer["at"][at][name], 3) for name in SPEED}
            for at in ours["at"]
        },
    }


def of_the_limit(ours: dict[str, Any], rounds: list[dict[str, float]]) -> dict[str, Any]:
    """`rounds` hold images/s by way: the limit is the way that is best in the median."""
    ways = {way: statistics.median(each[way] for each in rounds) for way in rounds[0]}
    best = max(ways, key=lambda way: ways[way])
    most = max(each["images_per_second"] for each in ours["at"].values())
    return {
        "images_per_second": round(ways[best], 3),
        "way": best,
        "ways": {way: round(value, 3) for way, value in ways.items()},
        "rounds": [round(each[best], 3) for each in rounds],
        "ratio": round(most / ways[best], 3),
    }


def rows(whole: dict[str, Any]) -> list[list[str]]:
    """A line a figure; a column a server, and a column a ratio."""
    servers: dict[str, Any] = whole["servers"]
    quotients: dict[str, Any] = whole["ratio"]
    lines = [["", *servers, *(f"{OURS} / {name}" for name in quotients), "better"]]
    everything = [*servers.values(), *quotients.values()]
    for key, (title, better) in WHOLE.items():
        lines.append([title, *(f"{each[key]:.2f}" for each in everything), better])
    for at in servers[OURS]["at"]:
        for name, (title, better) in TITLES.items():
            unit = title.partition(",")
            cells = [f"{each['at'][at][name]:.2f}" for each in everything]
            lines.append([f"{unit[0]}, {at} at a time{unit[1]}{unit[2]}", *cells, better])
    return lines


def more(whole: dict[str, Any]) -> list[str]:
    """What has no column: the limit, and the memory of threads."""
    lines = []
    if limit := whole.get("limit"):
        lines.append(
            f"limit without a server: {limit['images_per_second']:.2f} images/s "
            f"({limit['way']}); ours reaches {limit['ratio']:.2f} of it"
        )
    if threads := whole.get("threads"):
        lines.append(
            f"memory with {threads['many']} request threads: {threads['many_mib']:.1f} MiB, "
            f"with 1: {threads['one_mib']:.1f} MiB, {threads['ratio']:.2f} of it"
        )
    return lines
