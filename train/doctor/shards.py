"""What the hosts have seen of photos of which each has a part, put together: copies, leaks and poor
classes are those of the whole, whichever host has the photos.

The leader hears of every photo its row of FACTS, its name and its label: a million photos are some
120 MB, which one host with all of them would hold, too.
"""

import json
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from train.doctor.examine import Seen
from train.doctor.look import FACTS
from train.gathered import Gathered
from train.index import Index


def whole(
    own: dict[str, Seen] | None, indexes: dict[str, Index], gathered: Gathered
) -> dict[str, Seen] | None:
    """In the leader every split as all hosts have seen it, its own photos first; None elsewhere.
    `own` is None of a process that has not looked."""
    seen = {}
    for split, index in indexes.items():
        one = own[split] if own else Seen(index.take(np.zeros(0, np.int64)), np.zeros(0, FACTS), {})
        seen[split] = _whole(one, gathered) if gathered.sharded(index) else one
    return seen if gathered.team.leads else None


def _whole(own: Seen, gathered: Gathered) -> Seen:
    """Every process calls this, in the same order; what it gives is of use in the leader only."""
    team, index = gathered.team, own.index
    if index.pieces:  # a name in the whole tells which archive, for each host has its own
        plain = ((index.name(at), 0) for at in range(len(index)))
        index = replace(Index.of(index.channel, index.root, plain), targets=index.targets)
    told = {str(name): f"{why}, on {gathered.host}" for name, why in own.reasons.items()}
    reasons = np.frombuffer(json.dumps(told).encode(), np.uint8)
    names, ends, targets = map(team.to_leader, (index.names, index.ends, index.targets))
    facts, said = team.to_leader(own.facts), team.to_leader(reasons)
    if not team.leads:
        return own
    before = np.cumsum([0, *map(len, names)])[:-1]
    index = replace(
        index,
        names=np.concatenate(names),
        ends=np.concatenate([each + start for each, start in zip(ends, before, strict=True)]),
        targets=np.concatenate(targets),
    )
    return Seen(index, np.concatenate(facts), _reasons(said))


def _reasons(said: list[NDArray[np.uint8]]) -> dict[int, str]:
    every = (json.loads(each.tobytes()) for each in said)
    return {int(name): why for each in every for name, why in each.items()}
