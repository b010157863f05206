"""The training program: reads the job at the edge, runs it, and turns any error into a reason."""

import gc
import os
import sys
import traceback

from container import failure, opt_ml
from container.opt_ml import Job, Paths


def main() -> int:
    paths = Paths(opt_ml.base())
    try:
        # inside: a missing library or a full disk while importing is a failure with a reason, too
        from train.interruption import Interruption

        interruption = Interruption()
        interruption.install()
        from train import job

        job.run(Job.read(paths.root), interruption)
    except (Exception, KeyboardInterrupt) as error:
        failed = failure.classify(error)
        if not isinstance(error, failure.Failure):
            traceback.print_exc()
        print(failed, file=sys.stderr, flush=True)
        if not failure.write(failure.folder(paths.output), failure.reason(failed, error)):
            print(f"(the reason is not in {paths.output}/failure)", file=sys.stderr, flush=True)
        if failure.FOLDER in os.environ:
            # one of several: libraries that wait for the others would keep it from ending
            os._exit(1)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    gc.freeze()  # or the interpreter looks for cycles among torch's objects, for a second
    sys.exit(code)
