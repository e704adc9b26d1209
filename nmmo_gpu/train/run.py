"""The training loop, from the first iteration to the last checkpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nmmo_gpu.errors import CheckpointError, ConfigError, warn
from nmmo_gpu.replay import segment_writer
from nmmo_gpu.replay.recorder import Recorder
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train import distributed, run_folder
from nmmo_gpu.train.checkpoint import Checkpoint
from nmmo_gpu.train.class_names import STOCK, ClassNames, check_classes, class_name, class_option
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.memory_estimate import training_parts
from nmmo_gpu.train.nonfinite import all_finite, first_bad_tick, nonfinite_error, refuse_nonfinite
from nmmo_gpu.train.readback import HostCopy, Readback, Timestamp, seconds_between, timestamp
from nmmo_gpu.train.reporter import Reporter
from nmmo_gpu.train.run_folder import RunFolder
from nmmo_gpu.train.stop import StopRequest
from nmmo_gpu.train.torch_modes import default_modes
from nmmo_gpu.train.trinity import Sword, Trinity, trinity_of
from nmmo_gpu.train.uncopied import Uncopied
from nmmo_gpu.train.world_metrics import world_counts, world_counts_on_host
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.device import resolve_device
from nmmo_gpu.world.memory import check_memory


class IterationStats(NamedTuple):
    """Statistics of an iteration, available when the device has finished it."""

    iteration: int
    """Number of the iteration, from 1."""
    report: bool
    """Whether a report ends with this iteration; the tally starts again after it."""
    steps: int
    """Agent-steps."""
    seconds: float
    """Duration."""
    collect_share: float
    """Share of the duration spent in the rollout."""
    counts: dict[str, Tensor]
    """The tally's tensors (``Tally.state``), since the last report."""
    statistics: dict[str, Tensor]
    """The learner's statistics, [P] each."""
    world: dict[str, Tensor]
    """``nmmo_gpu.train.world_metrics.world_counts`` at the end of the rollout."""
    finite: bool
    """Whether all weights are finite after the update."""
    last_tick: int
    """Last tick of the rollout."""
    first_bad_tick: int | None
    """First tick of the rollout in which a number of a living agent was NaN or infinite; None for none."""


class _Pending(NamedTuple):
    iteration: int
    report: bool
    start: Timestamp
    collected: Timestamp
    end: Timestamp


class Run(Uncopied):
    """A training run: the three parts of Trinity, counters and a folder."""

    @default_modes()
    def __init__(
        self, config: TrainConfig, stored: Checkpoint | None = None, trinity: Trinity | None = None,
        run_id: str = "",
    ) -> None:  # fmt: skip
        """Starts a run, or resumes a stored one.

        Args:
            config: the settings; for a stored run its own, except for the limits.
            stored: from ``checkpoint.load``.
            trinity: classes to use in place of the default ones; for a stored run those that it was made
                with.
            run_id: ``RunFolder.id``; without it, ``save`` and the recordings replace or delete no file of an
                earlier start.

        Raises CheckpointError if the stored run was made with other classes than these, or if its tensors are
        not exactly theirs, and ConfigError if the config cannot be trained with.
        """
        config.check_training(distributed.shard(config.env).realms)
        trinity = trinity or Trinity()
        self.config, self.run_id = config, run_id
        self.device = resolve_device(config.env.device)
        self.sword = trinity.sword(config, self.device)
        self.classes: dict[str, type] = {
            **_classes(self.sword), "god": trinity.god, "pantheon": trinity.pantheon,
        }  # fmt: skip
        """The classes of the run, by the fields of ``ClassNames``."""
        if stored is not None:
            check_classes(self.classes, stored.classes)
        world = None if stored is None else checkpoints.load_world(stored, self.device)
        self.god = trinity.god(config, self.sword, world)
        self.pantheon = trinity.pantheon(config, self.sword)
        self.iteration, self.agent_steps, self.seconds = 0, 0, 0.0
        self.schedule_scale = 1.0
        """Rise of ``schedule`` per rise of ``progress``. Not 1 after a resume with other limits."""
        self.readback = Readback(self.device)
        self.reported = world_counts_on_host(self.god.env.world)
        """World counts of the last report; at first those of the initial world."""
        distributed.all_reduce_sum(self.reported.values())
        if stored is not None:
            self._restore(stored)
        if config.record:
            self.god.recorder = Recorder(
                self.god.env, config.record, config.ppo.horizon, Path(config.run) / segment_writer.FOLDER,
                Path(config.run).name, self.sword.choices() if config.record_policy else None,
                config.record_megabytes << 20, run_id=run_id,
            )  # fmt: skip

    @default_modes()
    def iterate(self, report: bool = False) -> list[IterationStats]:
        """Runs one rollout and one update; all processes call this together and share the statistics.

        Args:
            report: whether to reset the tally after this iteration.

        Returns:
            Statistics that have become available: on a CPU those of this iteration; on a GPU, to avoid a
                sync, those of the previous one. ``agent_steps`` and ``seconds`` include the same iterations.
        """
        start = timestamp(self.device)
        rollout = self.god.collect()
        collected = timestamp(self.device)
        statistics = self.pantheon.learn(rollout, *distributed.all_reduce_max(self.schedule()))
        end = timestamp(self.device)
        self.iteration += 1
        counts = {"agent_steps": rollout.alive.sum(), **_prefixed("tally", self.god.tally.state())}
        tag = _Pending(self.iteration, report, start, collected, end)
        counts |= _prefixed("world", world_counts(self.god.env.world))
        if distributed.size() > 1:
            counts = {name: count.clone() for name, count in counts.items()}
            distributed.all_reduce_sum(counts.values())
        health = {
            "finite": all_finite(self.sword.policy.parameters()), "first_bad_tick": first_bad_tick(rollout),
            "last_tick": rollout.tick,
        }  # fmt: skip
        host_copies = self.readback.send(counts | _prefixed("learner", statistics) | health, tag)
        if report:
            self.god.tally.reset()
        return [self._stats(host_copy) for host_copy in host_copies]

    def synchronize(self) -> list[IterationStats]:
        """Waits for the device; returns the statistics of the pending iteration, if any."""
        return [self._stats(host_copy) for host_copy in self.readback.receive()]

    def _stats(self, host_copy: HostCopy) -> IterationStats:
        tag: _Pending = host_copy.tag
        steps = int(host_copy.tensors["agent_steps"])
        seconds = seconds_between(tag.start, tag.end)
        self.agent_steps += steps
        self.seconds += seconds
        last_tick, row = int(host_copy.tensors["last_tick"]), int(host_copy.tensors["first_bad_tick"])
        horizon = self.config.ppo.horizon
        return IterationStats(
            iteration=tag.iteration,
            report=tag.report,
            steps=steps,
            seconds=seconds,
            collect_share=seconds_between(tag.start, tag.collected) / seconds,
            counts=_part("tally", host_copy.tensors),
            statistics=_part("learner", host_copy.tensors),
            world=_part("world", host_copy.tensors),
            finite=bool(host_copy.tensors["finite"]),
            last_tick=last_tick,
            first_bad_tick=last_tick - horizon + 1 + row if row < horizon else None,
        )

    def progress(self) -> float:
        """Returns the completed share of the run, 0 to 1; 0 for a run without limits."""
        return self._progress(self.config)

    def _progress(self, config: TrainConfig) -> float:
        shares = [0.0]
        if config.minutes is not None:
            shares.append(self.seconds / 60 / config.minutes)
        if config.iterations is not None:
            shares.append(self.iteration / config.iterations)
        return min(1.0, max(shares))

    def schedule(self) -> float:
        """Returns the completed share of the learning rate's schedule, 0 to 1.

        It equals ``progress``, unless the run was resumed with other limits: then it continues from where it
        was, and reaches 1 together with ``progress``."""
        return 1.0 - self.schedule_scale + self.schedule_scale * self.progress()

    def checkpoint(self) -> Checkpoint:
        """Returns the state of the run; on a GPU, call it after ``synchronize``."""
        tensors = {f"world.{name}": t for name, t in self.god.env.world.tensors()}
        tensors.update({f"policy.{name}": t for name, t in self.sword.policy.state_dict().items()})
        tensors.update({f"optimizer.{name}": t for name, t in self.pantheon.state().items()})
        tensors.update({f"realms.{name}": t for name, t in self.god.by_realm().items()})
        counts = {f"god.{name}": t.clone() for name, t in self.god.state().items()}
        distributed.all_reduce_sum(counts.values())
        tensors.update(counts)
        counters = {
            "iteration": self.iteration, "agent_steps": self.agent_steps, "seconds": self.seconds,
            "schedule_scale": self.schedule_scale,
        }  # fmt: skip
        names = ClassNames(**{part: class_name(cls) for part, cls in self.classes.items()})
        return Checkpoint(self.config, tensors, counters, names, self.run_id)

    def resume_command(self, folder: str | Path) -> str:
        """Returns the command that resumes the run from a folder, with the run's custom classes."""
        words = ["nmmo-gpu", "train", "--resume", str(folder)]
        custom = [cls for part, cls in self.classes.items() if class_name(cls) != getattr(STOCK, part)]
        if custom:
            words += ["--trinity", *map(class_option, custom)]
        return shlex.join(words)

    def close(self) -> None:
        """Closes the recordings, if any."""
        if self.god.recorder is not None:
            self.god.recorder.close()

    def save(self, folder: Path | None = None) -> None:
        """Writes the checkpoint; on a GPU, call it after ``synchronize``.

        Args:
            folder: where to write it; by default the run's folder.

        Raises NonFiniteError if weights or the optimizer's state are NaN or infinite, CheckpointError if the
        file cannot be written; the previous checkpoint is kept then."""
        stored = self.checkpoint()
        learned = {n: t for n, t in stored.tensors.items() if n.startswith(("policy.", "optimizer."))}
        refuse_nonfinite(learned, where="not saved; the previous checkpoint, if any, is kept")
        checkpoints.save((folder or Path(self.config.run)) / checkpoints.FILE, stored)

    def _restore(self, stored: Checkpoint) -> None:
        load_weights(self.sword, stored)
        self.pantheon.restore(stored.part("optimizer"))
        checkpoints.restore(self.god.by_realm(), stored.part("realms"), "realms.")
        checkpoints.restore(self.god.state(), stored.part("god"), "god.")
        if distributed.rank():  # counts are sums over processes; the first process holds the stored ones
            for count in self.god.state().values():
                count.zero_()
        counters = stored.counters
        self.iteration, self.agent_steps = int(counters["iteration"]), int(counters["agent_steps"])
        self.seconds = counters["seconds"]
        self.schedule_scale = counters["schedule_scale"]
        before, now = self._progress(stored.config), self.progress()
        if (self.config.minutes, self.config.iterations) != (stored.config.minutes, stored.config.iterations):
            ahead = self.schedule_scale * (1.0 - before)
            self.schedule_scale = ahead / (1.0 - now) if now < 1.0 else 0.0


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _part(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = prefix + "."
    return {name[len(start) :]: tensor for name, tensor in tensors.items() if name.startswith(start)}


def load_weights(sword: Sword, stored: Checkpoint) -> None:
    """Loads a checkpoint's weights into a Sword.

    Raises CheckpointError, before anything is changed, if the Sword or its network is not of the class that
    the checkpoint names, or if the tensors are not exactly those of the network."""
    check_classes(_classes(sword), stored.classes)
    checkpoints.restore(sword.policy.state_dict(), stored.part("policy"), "policy.")


def _classes(sword: Sword) -> dict[str, type]:
    """Returns the classes that choose actions, by the fields of ``ClassNames``."""
    return {"network": sword.network, "sword": type(sword)}


def train(
    config: TrainConfig, stored: Checkpoint | None = None, trinity: Trinity | None = None,
    network: type[nn.Module] | None = None,
) -> Run:  # fmt: skip
    """Trains until a limit or a signal, with terminal output, curves and checkpoints.

    Processes started by torchrun train together, and the first of them reports. When torchrun restarts them
    because a process was lost, they resume from the last checkpoint.

    Args:
        config: the settings; for a stored run those that ``resume`` returns.
        stored: checkpoint to resume from; None starts a new run.
        trinity: classes to use in place of the default ones.
        network: a network for the policies, the same as ``trinity=Trinity(sword=sword_with(network))``.

    Returns:
        The run, after its last checkpoint was saved.

    Reports, recordings and checkpoints that fail are warned of and do not end the training. If the last
    checkpoint cannot be written to the run's folder, it is written to a temporary one.

    Raises ConfigError if the folder already holds a run, is in use by another process, or cannot be written,
    and if both ``trinity`` and ``network`` name a network; CheckpointError if the stored run was made of
    other classes. A run that the folder holds is unchanged then. Raises NonFiniteError if an update makes
    weights NaN or infinite; the last checkpoint before it is kept. Raises CheckpointError if the last
    checkpoint cannot be written anywhere."""
    if network is not None:
        trinity = trinity_of(trinity or Trinity(), network)
    with distributed.process_group():
        # Checked first, so that a run that cannot start leaves no folder behind.
        device = resolve_device(config.env.device)
        backend = resolve(config.env.backend, device)
        mine = dataclasses.replace(config, env=distributed.shard(config.env))
        config.check_training(mine.env.realms)
        if device.type == "cuda" and backend.capturable:
            remedy = "realms, slots, horizon or hidden, or raise minibatches"
            with distributed.alone():  # God would divide this process's share again
                parts = training_parts(mine, (trinity or Trinity()).sword)
            check_memory(parts, device, remedy)
        # Each machine's torchrun counts its own restarts.
        (restarted,) = distributed.all_reduce_max(distributed.restarted())
        if stored is None and restarted and (Path(config.run) / checkpoints.FILE).exists():
            stored = checkpoints.load(Path(config.run), torch.device("cpu"))
        with contextlib.ExitStack() as stack:
            folder = _open_folder(stack, config, resumed=stored is not None)
            run_id = distributed.broadcast(folder.id if folder else "")
            # Refuses an unsuitable checkpoint, and writes nothing yet.
            run = stack.enter_context(contextlib.closing(Run(config, stored, trinity, run_id)))
            if folder:
                folder.describe(config, run.iteration)
            distributed.barrier()
            reporter = Reporter(run, resumed=stored is not None) if distributed.rank() == 0 else None
            with StopRequest() as stop, reporter or contextlib.nullcontext():
                saved_in = _train(run, stop, reporter)
            if reporter and stop.wanted:
                reporter.say(f"stopped; saved in {saved_in}; to resume: {run.resume_command(saved_in)}")
    return run


def _open_folder(stack: contextlib.ExitStack, config: TrainConfig, resumed: bool) -> RunFolder | None:
    """Opens the run's folder in the first process; an error there ends all processes."""
    folder: RunFolder | None = None
    failure: ConfigError | None = None
    if distributed.rank() == 0:
        try:
            folder = stack.enter_context(run_folder.opened(config, resumed))
        except ConfigError as error:
            failure = error
    (failed,) = distributed.all_reduce_max(failure is not None)
    if failed:
        raise failure or ConfigError(f"run = {config.run!r} cannot be used; the first process says why.")
    return folder


SAVE_AGAIN_SECONDS = 60.0
"""Time before a checkpoint that could not be written is tried again, if no other is due earlier."""


class _Saver:
    """Writes checkpoints when they are due. A failure is warned of once and does not end the training."""

    def __init__(self, run: Run) -> None:
        self.run, self.iteration, self._failed = run, -1, False
        self._wait(run.config.checkpoint_minutes * 60)

    def _wait(self, seconds: float) -> None:
        self._due = time.monotonic() + seconds

    def is_due(self) -> bool:
        return time.monotonic() >= self._due

    def save(self) -> None:
        """Saves; after a failure, the next attempt is due soon."""
        seconds = self.run.config.checkpoint_minutes * 60
        try:
            self.run.save()
        except CheckpointError as error:
            if not self._failed and distributed.rank() == 0:
                warn(f"{error} Training goes on, and saving is tried again.")
            self._failed = True
            self._wait(min(seconds, SAVE_AGAIN_SECONDS))
            return
        self.iteration, self._failed = self.run.iteration, False
        self._wait(seconds)

    def save_last(self) -> Path:
        """Saves the end of the training, if necessary in a temporary folder; returns the folder.

        Raises CheckpointError if neither is possible."""
        if self.iteration == self.run.iteration:
            return Path(self.run.config.run)
        try:
            self.run.save()
        except CheckpointError as error:
            if distributed.size() > 1:  # the temporary folders of several machines are not one folder
                raise
            folder = Path(tempfile.mkdtemp(prefix="nmmo-gpu-run-"))
            warn(f"{error} Saved in {folder} instead.")
            self.run.save(folder)
            return folder
        return Path(self.run.config.run)


def _train(run: Run, stop: StopRequest, reporter: Reporter | None) -> Path:
    """Iterates until a limit is reached or any process is to stop, then writes the last checkpoint; returns
    its folder.

    Raises NonFiniteError after an update that made weights NaN or infinite."""
    config = run.config
    saver = _Saver(run)
    newest: IterationStats | None = None
    reports_fail = False

    def report(stats: IterationStats) -> None:
        nonlocal reports_fail
        try:
            if reporter:
                reporter.report(stats)
        except Exception as error:  # reports are not worth the training
            if not reports_fail:
                warn(f"a report failed ({type(error).__name__}: {error}); training goes on.")
            reports_fail = True

    def receive(received: list[IterationStats]) -> None:
        nonlocal newest
        for newest in received:
            if not newest.finite:
                raise nonfinite_error(run, newest)
            if newest.report:
                report(newest)

    while True:
        done, stopping, due = distributed.all_reduce_max(run.progress(), stop.wanted, saver.is_due())
        if done >= 1.0 or stopping:
            break
        receive(run.iterate(report=(run.iteration + 1) % config.log_every == 0))
        if due:
            receive(run.synchronize())
            saver.save()
    # The first signal is still only noted here, so it cannot prevent the save.
    receive(run.synchronize())
    if newest is not None and not newest.report:
        report(newest)
        run.god.tally.reset()
    return saver.save_last()


def resume(path: str, **limits: Any) -> tuple[TrainConfig, Checkpoint]:
    """Loads a run for ``train``, which also needs the Trinity that the run was made with.

    Args:
        path: folder of the run, or its checkpoint file.
        limits: fields of the run's TrainConfig to replace, such as ``minutes``.

    Returns:
        config: the settings.
        checkpoint: the state in which the run stopped.

    Raises ConfigError if a limit has already been reached, or ``path`` is a file next to another checkpoint,
    which the run would replace; CheckpointError if the checkpoint cannot be read."""
    stored = checkpoints.load(Path(path), torch.device("cpu"))
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    main = folder / checkpoints.FILE
    if Path(path).is_file() and main.exists() and not main.samefile(path):
        raise ConfigError(
            f"resume = {path!r} would go on in {folder} and replace {checkpoints.FILE} there; copy it to a "
            f"folder of its own, as {checkpoints.FILE}, and resume that folder."
        )
    config = dataclasses.replace(stored.config, run=str(folder), **limits)
    env = config.env
    if env.backend == "triton":  # a run started on a GPU can resume without one
        env = dataclasses.replace(env, backend="auto")
    if env.device.startswith("cuda") and not torch.cuda.is_available():
        env = dataclasses.replace(env, device="auto")
    config = dataclasses.replace(config, env=env)
    run_limits = (config.minutes, config.iterations)
    done = (stored.counters["seconds"] / 60, stored.counters["iteration"])
    for name, limit, reached in zip(("minutes", "iterations"), run_limits, done, strict=True):
        if limit is not None and reached >= limit:
            raise ConfigError(
                f"{name} = {limit} has been reached by the run in {path} ({reached:.4g} so far); give a "
                f"larger --{name} to resume it."
            )
    return config, stored
