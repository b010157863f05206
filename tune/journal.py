"""Where a search remembers its trials: Optuna's journal, a file that a killed program leaves whole.

One search at a time writes it; the file of the lock names nobody and may stay.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from container.failure import ChannelError, HyperparameterError
from tune import sampling
from tune.spec import Specification

JOURNAL, LOCK, NAME = "journal.log", "lock", "search"
REQUEST = "request"
"""Attribute of the search: what was asked for at its start."""
PARENT = "parent"
"""Attribute of a trial that another search has run."""
PARENTS = Path("input") / "tuning"
"""Where the folders of earlier searches are looked for, by name."""


class Lock:
    """Held until the program ends, however it ends. Raises ChannelError where another has it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._handle)
            raise ChannelError(
                f"another search is running in {folder}", "wait for its end, or stop it"
            ) from None

    def release(self) -> None:
        os.close(self._handle)


def study(spec: Specification, folder: Path) -> optuna.Study:
    """The search's own, as an earlier start left it, or a new one. The caller has the Lock."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / JOURNAL
    _mend(path)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(path))),
        study_name=NAME,
        direction="maximize" if spec.objective.maximize else "minimize",
        pruner=sampling.pruner(spec),
        load_if_exists=True,
    )
    _check(made, spec, folder)
    # a start that goes on does not draw the first one's numbers again
    made.sampler = sampling.sampler(spec, len(made.get_trials(deepcopy=False)))
    return made


def _check(made: optuna.Study, spec: Specification, folder: Path) -> None:
    """Raises HyperparameterError where the folder's search is another one: its trials would be
    taken for this one's."""
    asked, known = spec.identity, made.user_attrs.get(REQUEST)
    if known is None:
        made.set_user_attr(REQUEST, asked)
        return
    names = [name for name in sorted({*known, *asked}) if known.get(name) != asked.get(name)]
    changed = [f"{name}: was {known.get(name, 'not given')}, is {asked.get(name, 'not given')}"
               for name in names]  # fmt: skip
    if changed:
        raise HyperparameterError(
            f"{folder} holds a search that asked for something else: {'; '.join(changed)}",
            "move that folder away, or give it to the new search as a parent (WarmStartConfig)",
            details=changed,
        )


def _mend(path: Path) -> None:
    """What a program that was killed may leave: Optuna's own lock, which another start would wait
    for, and half a line, which the next one would be written behind."""
    for leftover in path.parent.glob(f"{path.name}.lock*"):
        leftover.unlink()
    if not path.is_file():
        return
    text = path.read_bytes()
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        os.truncate(path, whole)


def learn(made: optuna.Study, spec: Specification, base: Path, say: Callable[[str], None]) -> None:
    """Puts the complete trials of the parents into a new study. Raises ChannelError where one is
    missing."""
    if any(PARENT not in trial.user_attrs for trial in made.get_trials(deepcopy=False)):
        return  # its own trials came after all of the parents'
    missing = [name for name in spec.parents if not (base / PARENTS / name / JOURNAL).is_file()]
    if missing:
        raise ChannelError(
            f"WarmStartConfig: no {JOURNAL} of {', '.join(missing)}",
            f"put each parent's output/tuning folder at {base / PARENTS}/NAME",
        )
    for name in spec.parents:
        storage = JournalStorage(JournalFileBackend(str(base / PARENTS / name / JOURNAL)))
        parent = optuna.load_study(study_name=NAME, storage=storage)
        if parent.direction != made.direction:
            raise ChannelError(f"WarmStartConfig: {name} has searched in the other direction")
        complete = parent.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        there = [trial.user_attrs.get(PARENT) for trial in made.get_trials(deepcopy=False)]
        known, taken = there.count(name), 0
        for trial in complete:
            distributions = sampling.distributions(spec)
            if trial.params.keys() != distributions.keys() or not all(
                one._contains(one.to_internal_repr(trial.params[key]))
                for key, one in distributions.items()
            ):
                continue
            taken += 1
            if taken <= known:
                continue  # a start that was killed has put it in
            made.add_trial(
                create_trial(
                    params=trial.params, distributions=distributions, value=trial.value,
                    intermediate_values=trial.intermediate_values, user_attrs={PARENT: name},
                )
            )  # fmt: skip
        say(f"warm start: {taken} of {len(complete)} trials of {name} lie within the ranges")
