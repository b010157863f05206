"""The tuning program: a search over training jobs, from the request's file to the best model.

    docker run IMAGE tune

Reads `input/config/tuning.json`, trains on the channels in `input/data`, and leaves the best model
in `model`, everything else in `output/tuning`. Started again, it goes on where it was.
"""

import os
import signal
import sys
import threading
import time
import traceback
from types import FrameType

import psutil

from container import failure, opt_ml, settings
from container.opt_ml import Job, Paths
from tune import request, results
from tune.journal import Lock
from tune.keep import Keep
from tune.search import Search
from tune.settings import Settings

FOLDER = "tuning"


def say(line: str) -> None:
    print(line, flush=True)


def run(paths: Paths) -> None:
    """Raises Failure for whatever ends the search without a model."""
    chosen = settings.read(Settings)
    spec = request.read(paths.config, say)
    request.check_channels(Job.read(paths.root))
    folder = paths.output / FOLDER
    lock = Lock(folder)
    search = Search(
        spec, paths.root, folder, Keep(chosen.keep_models), say,
        lambda study: results.write(folder, study, spec),
    )  # fmt: skip
    _stop_with(search)
    say(f"search: {spec.strategy}, {spec.max_trials} trials, {spec.objective}; logs and reports of "
        f"the trials in {search.folder}")  # fmt: skip
    search.run()
    results.finish(search, paths, spec, chosen.retrain == "yes")
    lock.release()


def _stop_with(search: Search) -> None:
    """On the platform's SIGTERM; and when the supervisor is killed, which cannot say so."""

    def ask(signum: int, frame: FrameType | None) -> None:
        threading.Thread(target=search.stop, daemon=True).start()

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, ask)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        for one in psutil.Process().children(recursive=True):
            one.kill()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> int:
    paths = Paths(opt_ml.base())
    try:
        run(paths)
    except (Exception, KeyboardInterrupt) as error:
        failed = failure.classify(error)
        if not isinstance(error, failure.Failure):
            traceback.print_exc()
        print(failed, file=sys.stderr, flush=True)
        failure.write(paths.output, failure.reason(failed, error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
