"""The tuning program: a search over training jobs, from the request's file to the best model.

    docker run IMAGE tune

Reads `input/config/tuning.json`, trains on the channels in `input/data`, and leaves the best model in
`model`, everything else in `output/tuning`. Started again, it goes on where it was.
"""

import json
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType

from container import failure, opt_ml, resources
from container.failure import HyperparameterError
from container.opt_ml import Paths
from train import hyperparameters
from tune import settings
from tune.keep import Keep, budget
from tune.plan import plan
from tune.search import Search
from tune.spec import Specification, SpecificationError, parse

FILE = "tuning.json"


def say(line: str) -> None:
    print(line, flush=True)
