"""The section on the compiled engine: which arithmetic it got, and what every one was worth."""

from typing import Any

from pages.document import Section
from pages.markup import join, paragraph, percent, table
from train.report.results import Results


def engine(results: Results) -> Section | None:
    """None of a job that made no engine; its log says why."""
    made: dict[str, Any] = results.compiled
    if not made:
        return None
    told = (
        f"The model has a compiled engine for processors, which computes in {made['precision']} "
        f"and serves without torch: {made['decision']}."
    )
    if made["calibration_images"]:
        told += f" Calibrated with {made['calibration_images']:,} training photos."
    rows = [
        (name, percent(seen), made["tried"].get(name, "what the others are compared with"))
        for name, seen in made["accuracies"].items()
    ]
    untold = made["tried"].keys() - made["accuracies"].keys()
    rows += [(name, "–", why) for name, why in made["tried"].items() if name in untold]
    parts = [paragraph(told, "soft")]
    if rows:
        head = ("arithmetic", f"accuracy on {made['images']:,} held-out photos", "verdict")
        parts.append(table(head, rows))
    return Section("Compiled engine", join(parts))
