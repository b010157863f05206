"""The SageMaker side of the image, from one file.

    python -m jobs train | tune | diagnose | deploy | transform | invoke |
                   status | logs | cost | delete | policy  FILE.toml

Every command that makes something prints its request with --dry-run, and sends nothing. Run again
after an interruption, a command takes up what is there.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from jobs import account, download, hosting, launch, names, policy, requests, scaling, watch
from jobs.aws import Aws, CommandError, explained
from jobs.project import Project, load
from jobs.table import ConfigError


def say(line: str) -> None:
    print(line, flush=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m jobs", description=(__doc__ or "").split("\n\n")[0]
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, meaning: str, makes: bool = False) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=meaning, description=meaning)
        made.add_argument("file", type=Path, help="the project's TOML file")
        if makes:
            made.add_argument("--dry-run", action="store_true", help="print the requests only")
            made.add_argument("--no-wait", action="store_true", help="return once it is started")
        return made

    for name, meaning in (("train", "upload the data, train, fetch model and report"),
                          ("tune", "search hyperparameters")):  # fmt: skip
        made = command(name, meaning, makes=True)
        made.add_argument("--new", action="store_true", help="also where one is running")
        made.add_argument("--prune", action="store_true",
                          help="delete from the bucket what the folders have no more")  # fmt: skip
    for name in ("train", "diagnose"):
        chosen = commands.choices.get(name) or command(
            name, "fetch what a job has left, and show what its rules have found"
        )
        chosen.add_argument("--into", type=Path, default=Path("jobs-output"), metavar="FOLDER",
                            help="default jobs-output")  # fmt: skip
    commands.choices["diagnose"].add_argument("--job", default="", help="default: the newest one")
    made = command("deploy", "make the endpoint, or update it behind its alarms", makes=True)
    made.add_argument("--model", default="", help="a job's name or an s3:// URI; default: newest")
    made = command("transform", "classify every photo under a prefix", makes=True)
    made.add_argument("source", help="s3://bucket/prefix")
    made.add_argument("--model", default="", help="a job's name or an s3:// URI; default: newest")
    made = command("invoke", "send photos to the endpoint")
    made.add_argument("photos", nargs="+", type=Path)
    made.add_argument("--target", default="", help="the model, of an endpoint of several")
    command("status", "jobs, searches, batches and the endpoint")
    made = command("logs", "the log of a job, or of the endpoint")
    made.add_argument("name", nargs="?", default="", help="default: the newest training job")
    command("cost", "what was billed, what is on, what is stored")
    made = command("delete", "take the endpoint, models and alarms away; say what still costs")
    made.add_argument("--data", action="store_true", help="also what lies in S3")
    made = command("policy", "print what a command's caller must be allowed, as an IAM policy")
    made.add_argument("of", choices=policy.COMMANDS, metavar="COMMAND")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    try:
        project = load(options.file)
        if getattr(options, "dry_run", False):
            return dry_run(options, project)
        if options.command == "policy":
            print(json.dumps(policy.of(options.of, project), indent=2))
            return 0
        with explained():
            run(options, project)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except CommandError as error:
        print(f"{options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("what was started goes on; the same command takes it up again", file=sys.stderr)
        return 130
    return 0


def run(options: argparse.Namespace, project: Project) -> None:
    aws, beside = Aws(project.region), options.file.parent
    if options.command == "train":
        launch.train(
            aws, project, beside, say, not options.no_wait, options.new, options.into, options.prune
        )
    elif options.command == "tune":
        launch.tune(aws, project, beside, say, not options.no_wait, options.new, options.prune)
    elif options.command == "diagnose":
        diagnose(aws, project, options.job, options.into)
    elif options.command == "deploy":
        hosting.deploy(aws, project, options.model, say, not options.no_wait)
    elif options.command == "transform":
        hosting.transform(aws, project, options.source, options.model, say, not options.no_wait)
    elif options.command == "invoke":
        hosting.invoke(aws, project, options.photos, say, options.target)
    elif options.command == "status":
        account.status(aws, project, say)
    elif options.command == "logs":
        logs(aws, project, options.name)
    elif options.command == "cost":
        account.cost(aws, project, say)
    elif options.command == "delete":
        hosting.delete(aws, project, say)  # first: it costs most, whatever fails afterwards
        launch.stop(aws, project, say)
        if options.data:
            account.empty(aws, project, say)
        account.cost(aws, project, say)


def diagnose(aws: Aws, project: Project, name: str, into: Path) -> None:
    job: dict[str, Any]
    if name:
        job = aws.sagemaker.describe_training_job(TrainingJobName=name)
    else:
        job = launch.newest(aws, project)
    for rule in job.get("DebugRuleEvaluationStatuses", []):
        say(f"{rule['RuleConfigurationName']}: {rule['RuleEvaluationStatus']} "
            f"{rule.get('StatusDetails', '')}".rstrip())  # fmt: skip
    download.outputs(aws, job, into / job["TrainingJobName"], say)


def logs(aws: Aws, project: Project, name: str) -> None:
    if name == project.name or hosting.found(aws, name or "-") is not None:
        kind, name = "endpoint", name or project.name
    else:
        kind = "transform" if "-transform-" in name else "train"
        name = name or launch.newest(aws, project)["TrainingJobName"]
    lines = 0
    for line in watch.Log(aws.logs, kind, name).lines():
        say(line)
        lines += 1
    if not lines:
        raise CommandError(f"no log of {name} in {watch.GROUPS[kind]}", "is that its name?")


def dry_run(options: argparse.Namespace, project: Project) -> int:
    """Prints what would be sent, as JSON; asks nobody."""
    shown: dict[str, Any] = {}
    name = f"{names.stem(project, options.command)}TIME"
    places = launch.places(project)
    if options.command == "train":
        shown["CreateTrainingJob"] = requests.training_job(
            project, launch.described(), name, places
        )
    elif options.command == "tune":
        image = launch.described()
        asked = launch.specification(project, image, options.file.parent)
        shown["CreateHyperParameterTuningJob"] = requests.tuning_job(
            project, image, name, places, asked
        )
    else:
        model = f"{names.stem(project, 'model')}TIME"
        uri = options.model or "s3://BUCKET/NEWEST/model.tar.gz"
        shown["CreateModel"] = requests.model(project, model, uri)
        if options.command == "deploy":
            shown["CreateEndpointConfig"] = requests.endpoint_config(project, model, model)
            shown |= scaling.shown(project, project.name)
        else:
            shown["CreateTransformJob"] = requests.transform_job(
                project, name, model, options.source
            )
    print(json.dumps(shown, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
