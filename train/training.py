"""The pieces of one training run, and what the loop tells them."""

import torch

from artifact.preprocess import Preprocessing
from container.failure import InterruptedFailure, RuleError
from container.opt_ml import Job
from debugger import hook as debug
from debugger.profiler.job import Profiler
from train import (
    budget,
    checkpoint,
    debugging,
    device,
    distributed,
    ema,
    handover,
    loaders,
    loop,
    loss,
    memory,
    multi_label,
    optimizer,
    photos,
    profiling,
    search_range,
    start,
)
from train.answers import Answers
from train.batches import Batches
from train.channels import Splits
from train.doctor import policy
from train.evaluate import Evaluation, StopRequestedError, evaluate
from train.features import prepare as features
from train.features import tail
from train.gathered import Gathered
from train.hyperparameters import Hyperparameters
from train.index import Index
from train.interruption import Interruption
from train.mix import Mix
from train.progress import Bar, MetricsFile, metrics_line, say
from train.replaced import PART, Contents
from train.saving import Saving
from train.tensorboard import Scalars
from train.waiting import Timed
from train.watchdog import Watchdog


class Training:
    """The pieces of one run, and what the loop tells them (`loop.Events`)."""

    def __init__(
        self,
        job: Job,
        chosen: Hyperparameters,
        splits: Splits,
        interruption: Interruption,
        gathered: Gathered,
    ) -> None:
        self.job, self.chosen = job, chosen
        self.splits = splits = multi_label.widened(splits, chosen.multi_label)
        self.interruption = interruption
        self.gathered, self.team = gathered, gathered.team
        self.labels = splits.labels
        self.preprocessing = Preprocessing.for_size(chosen.image_size)
        self.device = device.pick(self.team.local_rank)
        self.dtype = device.precision(chosen.precision, self.device)
        self.profiler: Profiler = profiling.profiler(job, chosen, self.team, self.device)
        self.profiler.start()
        self.bad_files: dict[str, list[str]] = {}
        self.best: dict[str, torch.Tensor] | None = None
        self.room = memory.Room()
        torch.manual_seed(chosen.seed)
        self.network = start.network(chosen, self.labels)
        # of a frozen backbone nothing changes: checkpoints and best weights are those of the rest
        frozen = chosen.fine_tune == "head"
        self.trained = tail.tail(self.network) if frozen else self.network
        self.learner = self.network
        interruption.protect()  # from here on there is a network to keep
        if frozen:  # no checkpoint holds the backbone, and what it is names the checkpoints
            self._start_from_pretrained()
        self.backbone = tail.digest(self.network) if frozen else ""
        found = self._find_checkpoint()
        self.state = loop.State() if found is None else found.state
        self.chosen = chosen = search_range.with_batch_size(
            chosen, self.state.found, self.network, gathered.share(splits.train).total,
            self.device, self.autocast, self.team,
        )  # fmt: skip
        given = splits.indexes.items()
        self.counts = {name: gathered.counts(index, len(self.labels)) for name, index in given}
        self.images = {name: gathered.share(index).total for name, index in given}
        self.train_images = self.images["train"]
        self.criterion = loss.make(
            chosen, self.counts["train"], self.train_images, splits.train.multi_label
        ).to(self.device)
        self.optimizer = optimizer.make(chosen, self.network)
        half = self.dtype is torch.float16
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=half)
        self.loaders = loaders.make(
            chosen, splits, self.preprocessing, self.device, self.dtype, gathered
        )
        self.timed = Timed(self.loaders.train)
        self.profiler.batch_size = chosen.batch_size
        self.profiler.loaders(self.loaders.processes * self.team.local_world)
        if found is None and not frozen:
            self._start_from_pretrained()
        self.network.to(self.device).to(memory_format=torch.channels_last)
        self.average = ema.Average(self.trained, ema.decay_of(chosen, self.loaders.train.steps))
        self.parts: dict[str, checkpoint.Part] = {"average": self.average, PART: self.contents}
        if found is not None:
            checkpoint.restore(found.tensors, self.trained, self.optimizer, self.scaler, self.parts)
            self.best = found.best
        self.saving = self._saving()
        self.mix = Mix(chosen.mixup, chosen.cutmix, len(self.labels), chosen.seed)
        self.metrics_file: MetricsFile | None = None
        self.scalars: Scalars | None = None
        if self.team.leads:  # the others' files would overwrite the leader's
            self.metrics_file = MetricsFile(
                job.paths.output_data / "metrics.jsonl", self.state.history
            )
            self.scalars = Scalars(job.tensorboard, self.state.history, say)
        self.hook: debug.Hook = debugging.hook(
            job, chosen, self.team, found is not None, self.profiler.hook
        )
        evaluated = debugging.evaluation_batches(self.loaders.validation) * self.state.epoch
        self.hook.register(self.network, self.criterion, self.optimizer, self.state.step, evaluated)
        self.rules = debugging.rules(job, chosen, self.team, self.hook, self.labels)
        self.photos = self.loaders
        self.whole: debugging.Whole | None = None
        self.bar: Bar | None = None

    def _start_from_pretrained(self) -> None:
        start.weights(
            self.network, self.job, self.chosen, self.preprocessing, self.labels,
            self.interruption, self.team,
        )  # fmt: skip

    def _find_checkpoint(self) -> checkpoint.Checkpoint | None:
        """The leader's newest."""
        data = self.gathered.key(photos.data_key(self.splits))
        self.store = start.store(self.job, self.chosen, self.labels, data, self.backbone)
        self.keeps_checkpoints = self.team.leads and self.store.writable()
        self.contents = Contents(self.splits)
        found = self.store.load(self.contents.others) if self.keeps_checkpoints else None
        return handover.checkpoint(self.team, found)

    def _saving(self) -> Saving:
        """Raises DiskFullError where checkpoints and model would not fit the volume."""
        if self.keeps_checkpoints:
            self._plan_disk()
        self.watchdog = Watchdog(
            self.job.paths.output,
            self.chosen.stall_seconds,
            lambda: f"epoch {self.state.epoch + 1}, step {self.state.step + 1}",
            lambda: self.saving.writer.drain(timeout=10),
            distributed.waiting,
        )
        return Saving(
            self.store if self.keeps_checkpoints else None,
            self.chosen.checkpoint_minutes,
            lambda: checkpoint.collect(self.trained, self.optimizer, self.scaler, self.parts),
            self.watchdog.expect,
        )

    def _plan_disk(self) -> None:
        folder, model = self.store.folder, self.job.paths.model
        self.store.kept, line = budget.kept(
            checkpoint.KEPT,
            budget.checkpoint_bytes(self.trained, self.optimizer, self.parts),
            budget.weights_bytes(self.network) if budget.same_volume(folder, model) else 0,
            budget.free_bytes(folder, self.store.names()),
            folder,
        )
        say(line)

    @property
    def thresholds(self) -> list[float]:
        """Of several labels, chosen with the best epoch; a run without one has chosen none."""
        if not self.splits.train.multi_label:
            return []
        return list(self.state.found.get("thresholds") or [0.5] * len(self.labels))

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    # what the loop asks and tells

    def should_stop(self) -> bool:
        """Asked once per micro-batch, in training and in evaluation: a sign of life."""
        self.watchdog.alive()
        return self.interruption.requested or bool(self.rules.stopped_by())

    def ended_by(self) -> str:
        return self.rules.ended_by()

    def train_mode(self) -> None:
        number, steps = self.state.epoch + 1, self.loaders.train.steps
        self.bar = Bar(
            f"epoch {number}/{self.chosen.epochs}",
            self.train_images,
            self.chosen.log_interval if steps > self.chosen.log_interval else 0,
        )
        self.bar.done = self.state.images
        self.profiler.begin(self.state.step)

    def update_begins(self, state: loop.State) -> None:
        whole = self.whole
        self.hook.update_begins(
            state.step,
            None if whole is None else lambda: whole.update(state.epoch, state.step_in_epoch),
        )

    def update_done(self, state: loop.State, images: int) -> None:
        self.profiler.stage("other")
        self.hook.update_done()
        assert self.bar is not None
        self.average.update()
        self.team.seed(self.chosen.seed, state.step)
        self.bar.advance(images, f"loss {state.loss_sum / max(1, state.images):.4f}")
        self.saving.update_done(state, self.best, self.loaders.train.steps)
        self.profiler.step_done(state.step - 1, state.epoch + 1, images)

    def bad_files_seen(self, index: Index, lines: list[str]) -> None:
        known = self.bad_files.setdefault(index.channel, [])
        for line in lines:
            if line not in known:
                say(f"bad file {line}")
                known.append(line)
        policy.check_limit(
            index.channel, len(known), len(index),
            self.chosen.bad_file_limit, self.chosen.data_policy, known,
        )  # fmt: skip

    def evaluate(self) -> Evaluation:
        self.profiler.pause()
        if self.bar is not None:
            self.bar.close()
        photos, whole = self.photos.validation, self.whole
        with self.average.in_place():
            self.hook.evaluation_begins(
                debugging.evaluation_batches(photos),
                None if whole is None else lambda: whole.evaluation(photos),
            )
            self.validated = self.evaluate_on(self.loaders.validation)
            self.hook.evaluation_done()
        return self.validated

    def evaluate_on(self, batches: Batches, answers: Answers | None = None) -> Evaluation:
        bar = Bar(f"evaluating {batches.index.channel}", len(batches.index))
        evaluation = evaluate(
            self.learner,
            self.criterion,
            batches,
            self.device,
            self.autocast,
            self.should_stop,
            len(self.labels),
            self.bad_files_seen,
            answers,
            flip=self.chosen.test_time_flip,
            team=self.team,
            advance=bar.advance,
            room=self.room,
        )
        bar.close()
        if answers is not None:
            answers.take_all(self.team, shared=not self.gathered.sharded(batches.index))
        return evaluation

    def epoch_done(self, state: loop.State, is_best: bool) -> None:
        metrics = state.history[-1]
        metrics["data_wait_share"] = self.timed.share
        if self.metrics_file is not None and self.scalars is not None:
            say(metrics_line(metrics))
            self.metrics_file.add(metrics)
            self.scalars.add(metrics)
        if is_best:
            with self.average.in_place():
                own = self.trained.state_dict()
                self.best = {k: v.detach().cpu().clone() for k, v in own.items()}
            if self.validated.several:
                state.found["thresholds"] = self.validated.several.thresholds()
        self.saving.epoch_done(state, self.best)

    # start and end

    def _take_features(self) -> None:
        """Puts features in the photos' place, where the backbone is frozen."""
        chosen = self.chosen
        if chosen.fine_tune != "head" or not chosen.feature_cache:
            return
        if chosen.changes_every_photo:
            say(f"features: none are kept, for {chosen.changes_every_photo} needs the photos")
            return
        request = features.Request(
            self.network, self.backbone, chosen, self.preprocessing, self.device, self.dtype,
            self.loaders, self.job.paths, self.gathered, self.should_stop,
            self.bad_files_seen,
        )  # fmt: skip
        try:
            made = features.prepare(request, training=self.state.epoch < chosen.epochs)
        except StopRequestedError as stop:
            if not self.state.step:
                so_far = str(stop) or "no features have been computed yet"
                raise InterruptedFailure(f"stopped before training began; {so_far}") from None
            return  # a resumed run has weights to end with: the loop hears the stop at once
        if made is not None:
            self.whole = debugging.Whole(
                self.network, self.photos, made, self.device, self.autocast
            )
            self.hook.cached(self.trained)
            self.loaders, self.learner = made, self.trained
            self.profiler.loaders(None)

    def _stopped_by_rule(self) -> None:
        """Raises RuleError in the leader where a rule and not the platform stopped the job."""
        if not self.chosen.rules or self.interruption.requested:
            return
        if not (reason := self.team.from_leader(self.rules.stopped_by())):
            return
        if not self.team.leads:
            self.team.from_leader("")  # never said: whoever fails first gives the job its reason
        raise RuleError(reason)

    def _find_learning_rate(self) -> None:
        self.chosen = search_range.with_learning_rate(
            self.chosen, self.state.found, self.learner, self.criterion, self.scaler,
            self.loaders.train, self.device, self.autocast, self.mix, self.should_stop, self.team,
        )  # fmt: skip

    def failed(self) -> None:
        """Tensors and verdicts of a run that ends without a model."""
        self.hook.close(failed=True)
        self.rules.close(hurry=True)
        self.profiler.abandon()

    def fit(self) -> None:
        with self.watchdog.watching("what comes before the first step"):
            self._take_features()
            self.timed = Timed(self.loaders.train, self.profiler.stage)
            self._find_learning_rate()
        self.team.seed(self.chosen.seed, self.state.step)
        with self.watchdog.watching():
            self._fit()

    def _fit(self) -> None:
        loop.fit(
            self.learner,
            self.criterion,
            self.optimizer,
            self.scaler,
            optimizer.schedule(self.chosen, self.loaders.train.steps),
            self.timed,
            self.state,
            self,
            epochs=self.chosen.epochs,
            patience=self.chosen.early_stopping_patience,
            fine_tune=self.chosen.fine_tune,
            device=self.device,
            autocast=self.autocast,
            mix=self.mix,
            team=self.team,
            keep_last=self.chosen.train_on_validation,
            stage=self.profiler.stage,
        )
        if self.state.interrupted:
            if self.bar is not None:
                self.bar.close()
            self.saving.stop(self.state, self.best)
            self._stopped_by_rule()
            say(
                f"interrupted: epoch {self.state.epoch + 1}, step {self.state.step}; "
                "the best weights so far are kept, the final evaluation is skipped"
            )
        else:
            if reason := self.state.found.get(loop.ENDED_BY):
                say(f"training ends after epoch {self.state.epoch}: {reason}")
            self.saving.finish()
