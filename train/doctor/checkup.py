"""The doctor's visit before the first epoch: look, say what was found, write it down, act on it."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.doctor import faults, page, policy, quarantine, shards
from train.doctor.examine import SECONDS, Folders, Seen, examine
from train.doctor.findings import ERROR, KINDS, NOTE, Findings
from train.gathered import Gathered
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
    output: Path,
    say: Callable[[str], None],
    gathered: Gathered,
    seconds: float = SECONDS,
) -> tuple[Gone, Findings | None, Contents | None]:
    """What is left out of this host's photos, in the leader all findings, over all hosts, and what
    each photo holds that this host has looked at. Raises DataError in the leader where the job must
    end; the findings are written before that."""
    own = None
    if gathered.looks(indexes.values()):
        bar = Bar("checking photos", sum(map(len, indexes.values())))
        own = examine(indexes, folders, say, bar.advance, seconds)
        bar.close()
    seen = shards.whole(own, indexes, gathered)
    out = policy.left_out(seen) if seen else {}
    findings = _judge(seen, out, indexes, labels, data_policy, output, say) if seen else None
    here = _here(out, indexes, gathered)
    if data_policy == "quarantine" and own is not None:
        _quarantine(own, here, output, gathered, say)
    for split, each in (seen or {}).items():
        lines = [f"{faults.full_name({split: each}, (split, at))}: {each.reason(at)}"
                 for at in out[split][0][: policy.SHOWN].tolist()]  # fmt: skip
        bad, photos = len(out[split][0]), len(each.index)
        policy.check_limit(split, bad, photos, limit, data_policy, lines)
    gone = {split: policy.positions(each) for split, each in here.items()}
    if own is None:
        return gone, findings, None
    return gone, findings, {split: each.facts["content"] for split, each in own.items()}


def _judge(
    seen: dict[str, Seen],
    out: Out,
    indexes: dict[str, Index],
    labels: list[str],
    data_policy: str,
    output: Path,
    say: Callable[[str], None],
) -> Findings:
    """Raises DataError where data_policy=error and there is any fault that harms."""
    findings = faults.find(seen, labels, data_policy)
    findings.left_out = {split: len(bad) + len(leaked) for split, (bad, leaked) in out.items()}
    findings.leaks_left_out = {split: len(leaked) for split, (_, leaked) in out.items()}
    findings.thumbnails = page.thumbnails(findings, indexes)
    _say(findings, len(out["train"][1]), say)
    _write(findings, output)
    if data_policy == "error":
        policy.refuse(findings)
    return findings


def _here(out: Out, indexes: dict[str, Index], gathered: Gathered) -> Out:
    """The part of what the leader leaves out that is this host's photos."""
    every = {split: [each.tolist() for each in out.get(split, ())] or [[], []] for split in indexes}
    return {split: (gathered.here(index, every[split][0]), gathered.here(index, every[split][1]))
            for split, index in indexes.items()}  # fmt: skip


def _quarantine(
    own: dict[str, Seen], here: Out, output: Path, gathered: Gathered, say: Callable[[str], None]
) -> None:
    """Each host has the files of its own shards; of what all have, the leader copies."""
    folder = output / quarantine.FOLDER
    if not gathered.team.leads:
        folder /= gathered.host  # the hosts' output may be put into one folder
        here = {split: each for split, each in here.items() if gathered.sharded(own[split].index)}
        if not any(len(positions) for each in here.values() for positions in each):
            return
    listed, copied = quarantine.write(folder, own, _files(own, here))
    say(f"quarantine: {listed} files listed, {copied} of them copied, in {folder}")


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
