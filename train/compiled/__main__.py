"""python -P -m train.compiled FOLDER: makes the engine that the order in FOLDER asks for.

In a process of its own: a library that crashes, or takes too much memory, costs the engine and not
the job. Lines of JSON go out: `say` with a line for the log, at the end `made` or `unfit`.
"""

import gc
import json
import os
import sys
from pathlib import Path


def main(folder: Path) -> int:
    # libraries print to standard output what is none of the answer
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(**message: object) -> None:
        print(json.dumps(message), file=answers, flush=True)

    from train.compiled import candidates, convert
    from train.compiled.order import Order, Photos

    order = Order.read(folder)
    chosen = candidates.Candidates(order, Photos.read(folder), lambda line: tell(say=line))
    try:
        graph, made = chosen.choose()
    except convert.UnfitError as error:
        tell(unfit=str(error))
        return 0
    candidates.save(graph, Path(order.artifact))
    tell(made=made.as_dict())
    return 0


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    gc.freeze()  # or the interpreter looks for cycles among torch's objects, for a second
    sys.stdout.flush()
    os._exit(code)
