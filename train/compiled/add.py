"""python -P -m train.compiled.add [--auto]: gives the artifact in the model folder an engine.

`--auto` leaves alone what a job with compile_engine=auto would: small networks, and those for which
it was asked not to.

Photos come from the job's channels, as in training; with folders named like the model's classes
int8 is judged by what is right, with others, or none, by what the network in floats answers.
Without photos the engine stays in floats: nobody could say what int8 loses.
"""

import shutil
import sys
import traceback
from pathlib import Path

from artifact import archive
from container import failure, opt_ml, resources
from container.failure import ModelError
from container.opt_ml import Job
from train import export, hyperparameters
from train.compiled import given, maker, material
from train.compiled.order import Order, Photos
from train.compiled.worth import worth
from train.progress import say


def add(root: Path, auto: bool = False) -> None:
    """Raises Failure where the artifact stays as it is and should not."""
    job = Job.read(root)
    try:
        folder = archive.find(job.paths.model)
        described = archive.read_description(folder)
        archive.check_files(folder, described)
    except archive.ArtifactError as error:
        raise ModelError(str(error)) from error
    if auto and (described.compiled or not _wanted(described)):
        return
    # of the job that trained it, unless another one is asked for
    tolerance = {**described.hyperparameters, **job.hyperparameters}.get("int8_tolerance")
    asked = {} if tolerance is None else {"int8_tolerance": tolerance}
    chosen, _ = hyperparameters.parse(asked)
    found = given.photos(job, described)
    if found is None or not len(found.judged):
        say(f"note: no photos under {job.paths.data}: the engine stays in floats")
    else:
        learn, judge = len(found.calibration), len(found.judged)
        say(f"photos: {learn} to calibrate with, {judge} to judge with")
    with archive.staging(folder) as staged:
        for name in (archive.REFERENCE, archive.WEIGHTS):
            shutil.copyfile(folder / name, staged / name)
        described.compiled = {}
        described.files = archive.describe_files(staged)
        archive.write_description(staged, described)
        order = Order(
            artifact=str(staged),
            tolerance=chosen.int8_tolerance,
            threads=resources.cpu_count(),
            budget_seconds=material.budget_seconds(material.LONG_SECONDS),
        )
        photos = found or Photos.none(described.preprocessing.image_size)
        described.compiled = maker.make(order, photos, say)
        if described.compiled:
            export.check(staged, described)
        if not described.compiled:
            raise ModelError(
                f"no compiled engine can be made of {described.network}; the artifact is unchanged",
                "serve it with torch: the log says what is in the way",
            )
        archive.publish(staged, folder)
    engine = described.compiled
    say(f"compiled engine: {engine['precision']}, {engine['decision']}")
    say(f"artifact: {folder / archive.DESCRIPTION}")


def _wanted(described: archive.Description) -> bool:
    asked = described.hyperparameters.get("compile_engine", "auto")
    return asked == "auto" and worth(described.network, described.preprocessing.image_size)


def main(arguments: list[str]) -> int:
    try:
        add(opt_ml.base(), auto=arguments == ["--auto"])
    except (Exception, KeyboardInterrupt) as error:
        failed = failure.classify(error)
        if not isinstance(error, failure.Failure):
            traceback.print_exc()
        print(failed, file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
