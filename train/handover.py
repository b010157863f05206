"""What the leader starts from, given to every other process of the team.

Only the leader reads checkpoints and pretrained weights: other hosts need not have them.
"""

from pathlib import Path

from torch import nn

from train.checkpoint import Checkpoint
from train.distributed import Team
from train.loop import State


def weights(team: Team, network: nn.Module) -> None:
    """The leader's, put in place."""
    if team.world > 1:
        given = team.tensors_from_leader(network.state_dict())
        assert given is not None
        network.load_state_dict(given, strict=True)


def checkpoint(team: Team, found: Checkpoint | None) -> Checkpoint | None:
    """The leader's, for all."""
    if team.world == 1:
        return found
    described = None
    if found is not None:
        described = {"state": found.state.as_dict(), "path": str(found.path), "job": found.job}
    described = team.from_leader(described)
    tensors = team.tensors_from_leader(found.tensors if found else None)
    best = team.tensors_from_leader(found.best if found else None)
    if found is not None or described is None or tensors is None:
        return found
    return Checkpoint(
        State(**described["state"]), tensors, best, Path(described["path"]), described["job"]
    )
