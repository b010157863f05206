"""The profiler of this job, from its hyperparameters and the platform's file."""

import torch

from container.opt_ml import Job
from debugger.profiler import settings
from debugger.profiler.job import Place, Profiler
from train.distributed import Team
from train.hyperparameters import Hyperparameters
from train.progress import say


def profiler(job: Job, chosen: Hyperparameters, team: Team, device: torch.device) -> Profiler:
    """Writes where the platform uploads as the job runs, where its file says so; else into the
    output folder, which is uploaded at the end."""
    folder = job.paths.output_data / "profiler"
    base = settings.from_hyperparameters(chosen.profile, chosen.profiler_interval_ms, folder)
    place = Place(
        host=job.current_host,
        host_number=job.hosts.index(job.current_host) + 1 if job.current_host in job.hosts else 1,
        rank=team.rank,
        local_rank=team.local_rank,
        world=team.world,
        device=device,
        output=job.paths.output_data,
    )
    return Profiler(settings.Watched(base, job.profiler_config, job.paths.profiler), place, say)
