"""Material of diagnosis reports: tensors of a small real training, saved by smdebug's own hook, and
measurements that look like those of real jobs."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from debugger.profiler.measured import Measured, Operator, Series, Steps
from debugger.verdict import Status, Sureness, Verdict
from tests.tree import ROOT

EVIL = "<script>alert('x')</script>\"&$title\u202e\udcff"
BEGAN = 1_795_000_000.0

TRAINING = """
import sys, torch, smdebug.pytorch as smd
from torch import nn

folder, steps, rate, depth = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[5])
torch.manual_seed(0)
torch.set_num_threads(1)


class SmallNet(nn.Module):
    def __init__(self):
        super().__init__()
        wide = [3, 8, 12, 16, 24]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())
            for i, o in zip(wide, wide[1:])
        )
        self.head = nn.Sequential(*(nn.Linear(24, 24) for _ in range(depth)), nn.Linear(24, 4))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean((2, 3)))


kept = sys.argv[4].split(",")
reductions = smd.ReductionConfig(reductions=kept, abs_reductions=kept) if sys.argv[4] else None
network, criterion = SmallNet(), nn.CrossEntropyLoss()
hook = smd.Hook(
    out_dir=folder, save_config=smd.SaveConfig(save_interval=2),
    include_collections=["weights", "biases", "gradients", "losses", "relu"],
    reduction_config=reductions,
)
hook.get_collection("relu").include(".*ReLU_output|.*_output_0")
hook.register_module(network)
hook.register_loss(criterion)
optimizer = torch.optim.SGD(network.parameters(), rate, momentum=0.9)
targets = torch.randint(4, (512,))
photos = torch.randn(512, 3, 12, 12) + targets[:, None, None, None] * 0.3
for step in range(steps):
    if step and step % 20 == 0:
        hook.set_mode(smd.modes.EVAL)
        network.eval()
        for part in range(2):
            criterion(network(photos[part * 32:part * 32 + 32]), targets[part * 32:part * 32 + 32])
    hook.set_mode(smd.modes.TRAIN)
    network.train()
    at = step * 32 % 512
    loss = criterion(network(photos[at:at + 32]), targets[at:at + 32])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
hook.close()
"""


def saved(
    folder: Path, steps: int = 48, rate: float = 0.05, reductions: str = "", depth: int = 0
) -> Path:
    """Tensors of a small network, every second step; in a process of its own, for smdebug's hook is
    one for a process. `depth` is of its head."""
    arguments = [str(folder), str(steps), str(rate), reductions, str(depth)]
    done = subprocess.run(
        [sys.executable, "-c", TRAINING, *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def series(
    host: str, kind: str, name: str, dimension: str, values: np.ndarray, interval: float = 0.5
) -> Series:
    times = BEGAN + np.arange(len(values)) * interval
    return Series(host, kind, name, dimension, times, np.asarray(values, np.float64))


def machine(
    host: str = "algo-1", points: int = 1200, cores: int = 4, cpu: float = 55, memory: float = 28,
    gpus: int = 0, gpu: float = 60, gpu_memory: float = 40, seed: int = 0,
) -> list[Series]:  # fmt: skip
    """A host's measurements around these means."""
    random = np.random.default_rng(seed)
    wave = np.sin(np.arange(points) / points * 40)

    def around(middle: float, noise: float) -> np.ndarray:
        return np.clip(middle + noise * wave + random.normal(0, noise, points), 0, 100)

    rising = memory * np.minimum(1, 0.4 + np.arange(points) / points * 3)
    made = []
    for dimension, middle, noise in (("CPUUtilization", cpu, 6), ("I/OWaitPercentage", 1, 1)):
        for at in range(cores):
            made.append(series(host, "cpu", f"cpu{at}", dimension, around(middle, noise)))
    made.append(series(host, "memory", "MemoryUsedPercent", "Memory", rising))
    for at in range(gpus):
        made.append(series(host, "gpu", f"gpu{at}", "GPUUtilization", around(gpu, 10)))
        made.append(series(host, "gpu", f"gpu{at}", "GPUMemoryUtilization", around(gpu_memory, 1)))
    received = random.gamma(2, 4e5, points)
    made.append(series(host, "network", "ReceiveBytesPerSecond", "Algorithm", received))
    return made


def steps(
    count: int = 600, per_epoch: int = 100, seconds: float = 0.9, waiting: float = 0.25,
    host: str = "algo-1", rank: int = 0, seed: int = 0,
) -> Steps:  # fmt: skip
    """Steps of which a share is waiting for data, more in some of them."""
    random = np.random.default_rng(seed)
    numbers = np.arange(count)
    whole = seconds * random.lognormal(0, 0.06, count)
    data = whole * waiting
    slow = (numbers % per_epoch == 0) | (numbers % 171 == 170)
    data[slow] += 3 * seconds
    rest = whole * (1 - waiting)
    stages = {
        "data_wait": data,
        "host_to_device": rest * 0.02,
        "forward": rest * 0.33,
        "backward": rest * 0.55,
        "optimizer": rest * 0.06,
        "hook": np.where(numbers % 50 == 0, rest * 0.3, 0),
    }
    whole = sum(stages.values()) + rest * 0.04
    starts = BEGAN + 5 + np.concatenate([[0], np.cumsum(whole)[:-1]])
    return Steps(
        host, rank, numbers.astype(np.int64), (numbers // per_epoch + 1).astype(np.int64), starts,
        whole, stages, np.full(count, 32, np.int64),
    )  # fmt: skip


OPERATORS = [
    Operator("aten::mkldnn_convolution", "operator", 5300, 41.2, 0.38),
    Operator("aten::convolution_backward", "operator", 5300, 33.0, 0.30),
    Operator("aten::batch_norm", "operator", 5300, 9.4, 0.09),
    Operator("aten::threshold_backward", "operator", 4900, 3.1, 0.03),
    Operator("train/loop.py(191): learn", "python", 100, 1.7, 0.016),
    Operator("PIL/ImageFile.py(201): load", "python", 3200, 1.2, 0.011),
]


def job(**more: object) -> Measured:
    """A job of nine minutes on four processors."""
    made = {"series": machine(), "steps": [steps()], "operators": OPERATORS, "began": BEGAN}
    return Measured(**{**made, **more})


def verdicts(found: bool = True) -> list[Verdict]:
    """Of several rules; `found` with two problems."""
    made = [
        Verdict(rule="vanishing_gradient", status=Status.NO_ISSUES_FOUND, looked_at=40,
                reason="the smallest mean gradient was 3.1e-05, above 1e-07",
                parameters={"threshold": "1e-7"}),
        Verdict(rule="exploding_tensor", status=Status.NO_ISSUES_FOUND, looked_at=40,
                reason="no value was NaN or infinite"),
        Verdict(rule="overfit", status=Status.NO_ISSUES_FOUND, looked_at=12,
                reason="validation loss stayed within 4 % of training loss"),
        Verdict(rule="saturated_activation", status=Status.NOT_APPLICABLE,
                reason="the network has no tanh and no sigmoid"),
        Verdict(rule="similar_across_runs", status=Status.NOT_APPLICABLE,
                reason="no other run was named: other_trials"),
        Verdict(rule="low_gpu_utilization", status=Status.NOT_APPLICABLE,
                reason="no GPU was measured"),
        Verdict(rule="gpu_memory_increase", status=Status.NOT_APPLICABLE,
                reason="no GPU was measured"),
        Verdict(rule="stalled_training_rule", status=Status.ERROR,
                reason="PermissionError: [Errno 13] index"),
    ]  # fmt: skip
    if found:
        made += [
            Verdict(rule="learning_rate_too_high", status=Status.ISSUES_FOUND,
                    sureness=Sureness.CERTAIN, times=6, looked_at=40, steps=[4, 6, 8, 10, 12, 14],
                    tensors=["CrossEntropyLoss_output_0"],
                    reason="the loss rose from 2.1 to 37.4 within 14 steps at learning rate 0.0877",
                    advice="learning_rate=0.001", parameters={"threshold": "3"},
                    gain="a loss that falls; the published recipe for this network starts at 0.001",
                    details={"loss": [2.1, 37.4]}),
            Verdict(rule="dead_relu", status=Status.ISSUES_FOUND, sureness=Sureness.POSSIBLE,
                    times=3, looked_at=40, steps=[20, 22, 24], tensors=["layer1.0.relu_output_0"],
                    reason="61 % of the units of layer1.0.relu were active in less than 1 % of "
                    "their observations", advice="lower learning_rate"),
        ]  # fmt: skip
    return made


def metrics(epochs: int = 6) -> list[dict[str, float]]:
    return [
        {"epoch": at, "step": 100 * at, "train_loss": 2.2 / at, "validation_loss": 2.3 / at + 0.1,
         "train_top1_accuracy": 1 - 0.7 / at, "validation_top1_accuracy": 1 - 0.75 / at,
         "learning_rate": 0.01 / at, "images_per_second": 35.2, "data_wait_share": 0.26}
        for at in range(1, epochs + 1)
    ]  # fmt: skip
