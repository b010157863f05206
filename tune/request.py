"""The search that is asked for: the request's file, and whether every value in it is legal."""

from collections.abc import Callable, Iterator
from pathlib import Path

from container.failure import ChannelError, HyperparameterError
from container.opt_ml import Job
from train import hyperparameters
from tune.reader import SpecificationError, parse
from tune.spec import Range, Specification

FILE = "tuning.json"


def read(config: Path, say: Callable[[str], None]) -> Specification:
    """Raises HyperparameterError with all mistakes, those of the values included."""
    path = config / FILE
    fix = f"correct {FILE}; it is the request of CreateHyperParameterTuningJob"
    try:
        spec = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HyperparameterError(f"there is no {path}", f"write {path}: the JSON of "
                                  "CreateHyperParameterTuningJob") from None  # fmt: skip
    except UnicodeDecodeError as error:
        raise HyperparameterError(f"{FILE} is not UTF-8: {error}", fix) from error
    except SpecificationError as error:
        raise _refused(error.mistakes, fix) from error
    mistakes = list(dict.fromkeys(_illegal(spec)))
    if mistakes:
        raise _refused(mistakes, fix)
    for name in spec.ignored:
        say(f"note: {name} has no meaning on one machine")
    return spec


def _refused(mistakes: list[str], fix: str) -> HyperparameterError:
    count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''} in {FILE}"
    return HyperparameterError(f"{count}: {'; '.join(mistakes)}", fix, details=mistakes)


def _illegal(spec: Specification) -> Iterator[str]:
    """What the training program would refuse, at the ends of every range."""
    ends = {one.name: _ends(one) for one in spec.ranges}
    first = {name: values[0] for name, values in ends.items()}
    for name, values in ends.items():
        for value in values:
            try:
                hyperparameters.parse({**spec.fixed, **first, name: value})
            except HyperparameterError as error:
                yield from error.details


def _ends(one: Range) -> tuple[str, ...]:
    if one.kind == "categorical":
        return one.values
    if one.kind == "integer":
        return str(int(one.low)), str(int(one.high))
    return repr(one.low), repr(one.high)


def check_channels(job: Job) -> None:
    """Raises ChannelError where a channel can be read once only, by the first trial."""
    pipes = sorted(name for name, each in job.inputs.items() if each.piped)
    if pipes:
        raise ChannelError(
            f"channels in Pipe mode: {', '.join(pipes)}; every trial reads the photos anew",
            "give them in File or FastFile mode",
        )
