"""Latency over load, of several servers, as a picture for the README."""

from pathlib import Path
from typing import Any

COLOURS = {"ours": "#0b6e4f", "flask": "#7a5195", "litserve": "#ef5675", "torchserve": "#ffa600"}
NAMES = {
    "ours": "this server",
    "flask": "Flask, eager",
    "litserve": "LitServe",
    "torchserve": "TorchServe",
}


def draw(whole: dict[str, Any], file: Path) -> None:
    """A line a server: a point for every number of requests at a time, median and 99th percentile.

    The format is that of the file's ending.
    """
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "latency"
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    for name, server in whole["servers"].items():
        points = [server["at"][at] for at in sorted(server["at"], key=int)]
        speed = [each["images_per_second"] for each in points]
        colour = COLOURS[name]
        axes.plot(speed, [each["p50_ms"] for each in points], "o-", color=colour, label=NAMES[name])
        axes.plot(speed, [each["p99_ms"] for each in points], ":", color=colour, linewidth=1.5)
    if limit := whole.get("limit"):
        axes.axvline(limit["images_per_second"], color="#777777", linewidth=1, linestyle="--")
        axes.annotate(
            "engine without HTTP", (limit["images_per_second"], 1), (-4, -6),
            xycoords=("data", "axes fraction"), textcoords="offset points",
            rotation=90, ha="right", va="top", color="#555555", fontsize=9,
        )  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlim(left=0)
    axes.set_xlabel("images per second")
    axes.set_ylabel("latency, ms (solid: median, dotted: 99 %)")
    described = whole["setting"]
    at = ", ".join(str(each) for each in described["concurrency"])
    axes.set_title(
        f"{described['network']} on {described['cores']} processors; {at} requests at a time",
        fontsize=11,
    )
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    # the same picture from the same figures, to the byte
    metadata = {"Date": None} if file.suffix == ".svg" else None
    figure.savefig(file, bbox_inches="tight", metadata=metadata)
    pyplot.close(figure)
