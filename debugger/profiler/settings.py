"""What the profiler is to do: hyperparameters, and the platform's `profilerconfig.json` above them.

The platform's own reader lower-cases the whole text and hands parts of it to `eval`. Here names are
compared without case, values keep theirs, and text that holds a dict goes through
`ast.literal_eval`, bounded in length. The file may change while the job runs, for the platform's
UpdateTrainingJob rewrites it; `Watched` reads it again when it does.
"""

import ast
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

INTERVAL_MS = 500
"""The platform's default."""
LEAST_INTERVAL_MS, MOST_INTERVAL_MS = 100, 60_000
"""The platform's range (API ProfilerConfig)."""
ROTATE_BYTES, ROTATE_SECONDS, OPEN_FAILURES = 10_485_760, 60.0, 50
"""The platform's defaults (smdebug's profiler_constants)."""
MOST_FILE_BYTES, MOST_LITERAL_CHARACTERS = 1 << 20, 4096
MOST_TRACED_STEPS = 50
"""A step leaves some ten thousand events in a trace, and all are held in memory until it ends."""
TRACES = ("detailedprofilingconfig", "pythonprofilingconfig")
"""Both ask for a trace of some steps; ours holds operators and Python functions alike."""
UNSERVED = ("dataloaderprofilingconfig", "smdataparallelprofilingconfig")


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Which steps are traced: by their numbers, or from a time on for so long."""

    first: int | None = None
    """Updates done before; None is the step under way when the trace is asked for."""
    steps: int = 1
    starts: float | None = None
    """Seconds since 1970; with it, or with `seconds`, steps are not counted."""
    seconds: float | None = None

    @property
    def by_time(self) -> bool:
        return self.starts is not None or self.seconds is not None


@dataclass(frozen=True, kw_only=True)
class Settings:
    folder: Path
    """Holds `system/` and `framework/`; the platform uploads its LocalPath as it grows."""
    enabled: bool = True
    interval_seconds: float = INTERVAL_MS / 1000
    widens: bool = True
    """Whether samples grow rarer as their files grow; not where the platform gave the interval."""
    rotate_bytes: int = ROTATE_BYTES
    rotate_seconds: float = ROTATE_SECONDS
    open_failures: int = OPEN_FAILURES
    trace: Trace | None = None
    notes: tuple[str, ...] = ()
    """What was asked for and is not done, a line each."""


def from_hyperparameters(profile: str, interval_ms: int, folder: Path) -> Settings:
    """`profile` is `off`, `system`, or `steps:A-B`. Raises ValueError with what was expected."""
    trace = None
    if profile.startswith("steps:"):
        trace = _steps(profile.removeprefix("steps:"))
    elif profile not in ("off", "system"):
        raise ValueError(EXPECTED)
    return Settings(
        folder=folder, enabled=profile != "off", interval_seconds=interval_ms / 1000, trace=trace
    )


EXPECTED = f"off, system, or steps:A-B, such as steps:100-110, of at most {MOST_TRACED_STEPS} steps"


def _steps(text: str) -> Trace:
    first, dash, last = text.partition("-")
    if not (dash and first.isdecimal() and last.isdecimal() and len(text) < 40):
        raise ValueError(EXPECTED)
    steps = int(last) - int(first) + 1
    if not 1 <= steps <= MOST_TRACED_STEPS:
        raise ValueError(EXPECTED)
    return Trace(first=int(first), steps=steps)


def under_platform(base: Settings, config: Path, local: Path) -> Settings:
    """`base`, with what the platform's file says put above it: it turns the profiler off, but not
    on against `profile=off`, for the platform writes the file for jobs that ask for nothing, too.
    `local` is the platform's default LocalPath. A file that cannot be read changes nothing, and
    says so."""
    try:
        text = config.read_text(encoding="utf-8")
        if len(text) > MOST_FILE_BYTES:
            raise ValueError(f"longer than {MOST_FILE_BYTES} bytes")
        told = _lower(json.loads(text))
    except FileNotFoundError:
        return base
    except (OSError, ValueError, RecursionError) as error:
        return replace(base, notes=(f"{config.name} is not read: {error}",))
    if not isinstance(told, dict):
        return replace(base, notes=(f"{config.name} holds no object",))
    if _true(told.get("disableprofiler")):
        return replace(
            base, enabled=False, trace=None, notes=(f"off: DisableProfiler in {config.name}",)
        )
    parameters = told.get("profilingparameters")
    return _told(base, told, _lower(parameters) if isinstance(parameters, dict) else {}, local)


def _told(
    base: Settings, told: dict[str, Any], parameters: dict[str, Any], local: Path
) -> Settings:
    notes: list[str] = []

    def number(name: str, otherwise: float, least: float, source: dict[str, Any]) -> float:
        value = source.get(name, otherwise)
        try:
            found = float(value)
        except (TypeError, ValueError):
            found = math.nan
        if not (math.isfinite(found) and found >= least):
            notes.append(f"{name}={value!r:.60}: expected a number from {least:g}")
            return otherwise
        return found

    interval = number(
        "profilingintervalinmilliseconds", base.interval_seconds * 1000, LEAST_INTERVAL_MS, told
    )
    trace = base.trace
    for name in TRACES:
        asked = _trace(name, parameters.get(name), notes)
        if asked is not None:
            trace = asked
            break
    notes += [f"{name} is not served" for name in UNSERVED if parameters.get(name)]
    path = parameters.get("localpath")
    if path is not None and not (isinstance(path, str) and "\0" not in path):
        notes.append(f"localpath={path!r:.60}: expected the name of a folder")
        path = None
    return replace(
        base,
        folder=Path(path) if isinstance(path, str) and Path(path).is_absolute() else local,
        interval_seconds=min(interval, MOST_INTERVAL_MS) / 1000,
        widens=False,
        rotate_bytes=int(number("rotatemaxfilesizeinbytes", ROTATE_BYTES, 1, parameters)),
        rotate_seconds=number("rotatefilecloseintervalinseconds", ROTATE_SECONDS, 1, parameters),
        open_failures=int(number("fileopenfailthreshold", OPEN_FAILURES, 1, parameters)),
        trace=trace,
        notes=tuple(notes),
    )


def _lower(value: Any) -> Any:
    return {str(k).lower(): v for k, v in value.items()} if isinstance(value, dict) else value


def _true(value: Any) -> bool:
    return str(value).strip().lower() in ("true", "1")


def _trace(name: str, text: Any, notes: list[str]) -> Trace | None:
    """A range of steps or of time; both at once are refused, as smdebug does."""
    if not text:
        return None
    try:
        asked = _literal(text)
        first, steps = asked.get("startstep"), asked.get("numsteps")
        starts, seconds = asked.get("starttimeinsecsinceepoch"), asked.get("durationinseconds")
        by_steps = first is not None or steps is not None
        by_time = starts is not None or seconds is not None
        if by_steps and by_time:
            raise ValueError("steps and times at once")
        if not by_steps and not by_time:
            return None
        count = int(steps) if steps is not None else 1
        if count > MOST_TRACED_STEPS:
            notes.append(f"{name}: {count} steps cut to {MOST_TRACED_STEPS}")
        return Trace(
            first=None if first is None else int(first),
            steps=max(1, min(count, MOST_TRACED_STEPS)),
            starts=None if starts is None else float(starts),
            seconds=None if seconds is None else float(seconds),
        )
    except (TypeError, ValueError, OverflowError) as error:
        notes.append(f"{name} is not read: {error}")
        return None


def _literal(text: Any) -> dict[str, Any]:
    """A dict of plain values, written as Python or as JSON. Raises ValueError."""
    if isinstance(text, dict):
        found: Any = text
    elif not isinstance(text, str) or len(text) > MOST_LITERAL_CHARACTERS:
        raise ValueError(f"expected at most {MOST_LITERAL_CHARACTERS} characters")
    else:
        try:
            found = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            try:
                # what lower-casing makes of Python's True is JSON's true
                found = json.loads(text.replace("'", '"'))
            except (ValueError, RecursionError):
                raise ValueError(f"no dict literal: {text!r:.80}") from None
    if not isinstance(found, dict):
        raise ValueError(f"no dict: {text!r:.80}")
    named: dict[str, Any] = _lower(found)
    return named


class Watched:
    """The settings in effect; `changed` looks whether the platform has rewritten its file."""

    def __init__(self, base: Settings, config: Path, local: Path) -> None:
        self._base, self._config, self._local = base, config, local
        self._stamp = self._look()
        self.asked = base.enabled
        """Whether the hyperparameters leave it to the platform's file, which may yet change."""
        self.now = under_platform(base, config, local)

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._config.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def changed(self) -> bool:
        """One `stat`; reads the file where it is another one than before."""
        stamp = self._look()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        before, self.now = self.now, under_platform(self._base, self._config, self._local)
        return self.now != before
