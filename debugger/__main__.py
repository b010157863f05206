"""The diagnosing program: rules over what any job has left, ours or one written by plain smdebug.

    diagnose                          what this container's job has left below /opt/ml
    diagnose FOLDER                   any folder
    diagnose s3://bucket/prefix       any prefix; keys and Region as everywhere on AWS

Exit code: 0 no issue, 3 an issue was found, 2 bad arguments or nothing to read.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from container import opt_ml
from debugger.rules import asked
from debugger.rules.asked import Asked, RuleRequestError

FOUND, WRONG = 3, 2
Bring = Callable[[str], Path]


def main(arguments: list[str]) -> int:
    chosen = _parser().parse_args(arguments)
    if chosen.list:
        print(rules_table())
        return 0
    try:
        rules = asked.parse(chosen.rules or "all")
    except RuleRequestError as error:
        return _refuse(str(error))
    from debugger import fetch

    more: list[Path] = []
    with tempfile.TemporaryDirectory(prefix="diagnose-") as scratch:
        folder = Path(chosen.place) if chosen.place else opt_ml.base()
        out = Path(chosen.out) if chosen.out else folder
        if chosen.place and fetch.is_s3(chosen.place):
            out = Path(chosen.out or ".")
            try:
                folder = fetch.fetch(chosen.place, Path(scratch), _say)
            except fetch.FetchError as error:
                return _refuse(str(error))
        elif chosen.place:
            more = fetch.unpack_below(folder, Path(scratch), _say)
        elif not chosen.out:
            out = folder / "output" / "data"
        bring = fetch.others(Path(scratch), _say)
        return _diagnose(folder, rules, not chosen.rules, out, more, bring)


def _diagnose(
    folder: Path, rules: list[Asked], profiler: bool, out: Path, more: list[Path], bring: Bring
) -> int:
    try:
        from debugger import diagnose
    except ModuleNotFoundError as error:
        return _refuse(f"{error.name} is not installed here; use the image, or `make venv`")
    try:
        made = diagnose.diagnose(folder, rules, profiler, more, bring)
    except (diagnose.NothingToReadError, RuleRequestError) as error:
        return _refuse(str(error))
    print(diagnose.table(made.verdicts))
    for note in made.notes:
        _say(f"note: {note}")
    try:
        page = diagnose.report(out, made)
    except OSError as error:
        _say(f"{out} cannot be written ({error.strerror or error}); give --out FOLDER")
    except Exception as error:  # whatever is drawn of a damaged job: the verdicts stand
        _say(f"there is no report: {type(error).__name__}: {error}")
    else:
        print(f"report: {page}")
    print(diagnose.ending(made.verdicts))
    return FOUND if made.issues else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="diagnose", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("place", nargs="?", help="a folder or an S3 prefix; default: the job here")
    parser.add_argument(
        "--rules", help="names with commas between, or JSON; default: all, and the profiler's"
    )
    parser.add_argument("--out", help="where the report goes; default: the folder")
    parser.add_argument("--list", action="store_true", help="the rules and their parameters")
    return parser


def rules_table() -> str:
    lines = []
    for name in asked.MODULES:
        made = asked.class_of(name)
        lines.append(f"{name}: {made.summary}")  # type: ignore[attr-defined]
        for key, parameter in made.parameters.items():  # type: ignore[attr-defined]
            lines.append(f"    {key}={parameter.default}  {parameter.meaning}")
    return "\n".join(lines)


def _refuse(words: str) -> int:
    print(f"diagnose: {words}", file=sys.stderr)
    return WRONG


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
