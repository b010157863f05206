"""The doctor's visit before the first epoch: look, say what was found, write it down, act on it."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.doctor import faults, page, policy, quarantine
from train.doctor.examine import SECONDS, Folders, Seen, examine
from train.doctor.findings import ERROR, KINDS, NOTE, Findings
from train.index import Index
from train.progress import Bar

NAMED_FILES = 50
"""Bad files that get a log line each; and of other kinds fewer, in one line."""
NAMED_FINDINGS = 5

Out = dict[str, tuple[policy.Positions, policy.Positions]]
Gone = dict[str, list[int]]
"""Split -> positions that are left out, sorted."""
Contents = dict[str, NDArray[np.uint64]]
"""Split -> a hash of each photo's bytes, 0 of one that was not looked at."""


def check(
    indexes: dict[str, Index],
    labels: list[str],
    data_policy: str,
    limit: float,
    folders: Folders,
    output: Path | None,
    say: Callable[[str], None],
    seconds: float = SECONDS,
) -> tuple[Gone, Findings, Contents]:
    """What is left out, all findings, and what each photo holds. Raises DataError where the job
    must end; the findings are written to `output`, if any, before that."""
    bar = Bar("checking photos", sum(map(len, indexes.values())))
    seen = examine(indexes, folders, say, bar.advance, seconds)
    bar.close()
    findings = faults.find(seen, labels, data_policy)
    out = policy.left_out(seen)
    findings.left_out = {split: len(bad) + len(leaked) for split, (bad, leaked) in out.items()}
    findings.leaks_left_out = {split: len(leaked) for split, (_, leaked) in out.items()}
    findings.thumbnails = page.thumbnails(findings, indexes)
    _say(findings, len(out["train"][1]), say)
    if output is not None:
        _write(findings, output)
    if data_policy == "error":
        policy.refuse(findings)
    if data_policy == "quarantine" and output is not None:
        listed, copied = quarantine.write(output, seen, _files(seen, out))
        say(f"quarantine: {listed} files listed, {copied} of them copied, in "
            f"{output / quarantine.FOLDER}")  # fmt: skip
    for split, index in indexes.items():
        lines = [f"{faults.full_name(seen, (split, at))}: {seen[split].reason(at)}"
                 for at in out[split][0][: policy.SHOWN].tolist()]  # fmt: skip
        policy.check_limit(split, len(out[split][0]), len(index), limit, data_policy, lines)
    gone = {split: policy.positions(each) for split, each in out.items()}
    return gone, findings, {split: each.facts["content"] for split, each in seen.items()}


def _files(seen: dict[str, Seen], out: Out) -> Iterator[quarantine.LeftOut]:
    for split, (bad, leaked) in out.items():
        for at in bad.tolist():
            yield quarantine.LeftOut(split, at, "unreadable", seen[split].reason(at))
        for at in leaked.tolist():
            yield quarantine.LeftOut(split, at, "leak", "another split holds the same bytes")


def _say(findings: Findings, leaked: int, say: Callable[[str], None]) -> None:
    """The log's share: errors and warnings with names, the rest as numbers; all of it bounded."""
    for split, looked in findings.looked.items():
        if looked < findings.photos[split]:
            say(f"note: {split}: {looked} of {findings.photos[split]} photos checked in the time "
                "allowed; the rest is checked as it is read")  # fmt: skip
    bad = findings.of("unreadable")
    for finding in bad[:NAMED_FILES]:
        say(f"bad file {finding.names[0]}: {finding.reason}")
    if findings.counts["unreadable"] > NAMED_FILES:
        say(f"bad files: {findings.counts['unreadable'] - NAMED_FILES} more, named in doctor.json")
    for kind, (severity, meaning) in KINDS.items():
        if severity == NOTE or kind == "unreadable" or not findings.counts[kind]:
            continue
        examples = [f"{' = '.join(finding.names[:3])} ({finding.reason})"
                    for finding in findings.of(kind)[:NAMED_FINDINGS]]  # fmt: skip
        more = findings.counts[kind] - len(examples)
        rest = f"; and {more} more in doctor.json" if more else ""
        say(f"warning: {kind}: {findings.counts[kind]} x {meaning}: {'; '.join(examples)}{rest}")
    if findings.counts["leak"] and findings.policy != ERROR:
        say(
            f"warning: leak: {leaked} train photos are left out because another split holds them"
            + ("" if leaked else ": the splits share more than half of a class, so none is")
        )
    notes = [f"{findings.counts[kind]} {kind}" for kind in KINDS
             if KINDS[kind][0] == NOTE and findings.counts[kind]]  # fmt: skip
    if notes:
        say(f"note: photos that doctor.json names: {', '.join(notes)}")


def _write(findings: Findings, output: Path) -> None:
    """`doctor.json` and `doctor.html`, each whole or not at all."""
    output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(findings.as_dict(), indent=1, ensure_ascii=False) + "\n"
    for name, content in (("doctor.json", text), ("doctor.html", page.page(findings))):
        partial = output / f".{name}.{os.getpid()}.partial"
        partial.write_text(content, encoding="utf-8")
        partial.replace(output / name)
