"""The training loop, from the first iteration to the last checkpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nmmo_gpu.config.serialize import to_plain
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.replay import segment_writer
from nmmo_gpu.replay.recorder import Recorder
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train import distributed
from nmmo_gpu.train.checkpoint import Checkpoint
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.economy import economy_counts, economy_counts_on_host
from nmmo_gpu.train.memory_estimate import training_parts
from nmmo_gpu.train.network import check_network, network_name
from nmmo_gpu.train.readback import HostCopy, Readback, Timestamp, seconds_between, timestamp
from nmmo_gpu.train.reporter import Reporter
from nmmo_gpu.train.torch_modes import default_modes
from nmmo_gpu.train.trinity import Sword, Trinity
from nmmo_gpu.train.uncopied import Uncopied
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
    economy: dict[str, Tensor]
    """``nmmo_gpu.train.economy.economy_counts`` at the end of the rollout; empty without the full game."""


class _Pending(NamedTuple):
    iteration: int
    report: bool
    start: Timestamp
    collected: Timestamp
    end: Timestamp


class Run(Uncopied):
    """A training run: the three parts of Trinity, counters and a folder."""

    @default_modes()
    def __init__(self, config: TrainConfig, stored: Checkpoint | None = None, trinity: Trinity | None = None):
        """Starts a run, or resumes a stored one.

        Args:
            config: the settings; for a stored run its own, except for the limits.
            stored: from ``checkpoint.load``.
            trinity: classes to use in place of the default ones; for a stored run those that it was made
                with.

        Raises CheckpointError if the tensors or the network's name show that the stored run was made with
        other classes.
        """
        trinity = trinity or Trinity()
        self.config = config
        self.device = resolve_device(config.env.device)
        self.sword = trinity.sword(config, self.device)
        world = None if stored is None else checkpoints.load_world(stored, self.device)
        self.god = trinity.god(config, self.sword, world)
        self.pantheon = trinity.pantheon(config, self.sword)
        self.iteration, self.agent_steps, self.seconds = 0, 0, 0.0
        self.readback = Readback(self.device)
        if config.record:
            self.god.recorder = Recorder(
                self.god.env, config.record, config.ppo.horizon, Path(config.run) / segment_writer.FOLDER,
                Path(config.run).name, self.sword.choices() if config.record_policy else None,
                config.record_megabytes << 20,
            )  # fmt: skip
        self.reported = economy_counts_on_host(self.god.env.world)
        """Economy counts of the last report; at first those of the initial world."""
        distributed.all_reduce_sum(self.reported.values())
        if stored is not None:
            self._restore(stored)

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
        statistics = self.pantheon.learn(rollout, *distributed.all_reduce_max(self.progress()))
        end = timestamp(self.device)
        self.iteration += 1
        counts = {"agent_steps": rollout.alive.sum(), **_prefixed("tally", self.god.tally.state())}
        tag = _Pending(self.iteration, report, start, collected, end)
        counts |= _prefixed("economy", economy_counts(self.god.env.world))
        if distributed.size() > 1:
            counts = {name: count.clone() for name, count in counts.items()}
            distributed.all_reduce_sum(counts.values())
        host_copies = self.readback.send(counts | _prefixed("learner", statistics), tag)
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
        return IterationStats(
            tag.iteration, tag.report, steps, seconds,
            seconds_between(tag.start, tag.collected) / seconds,
            _part("tally", host_copy.tensors), _part("learner", host_copy.tensors), _part("economy",
            host_copy.tensors),
        )  # fmt: skip

    def progress(self) -> float:
        """Returns the completed share of the run, 0 to 1; 0 for a run without limits."""
        shares = [0.0]
        if self.config.minutes is not None:
            shares.append(self.seconds / 60 / self.config.minutes)
        if self.config.iterations is not None:
            shares.append(self.iteration / self.config.iterations)
        return min(1.0, max(shares))

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
        }  # fmt: skip
        return Checkpoint(self.config, tensors, counters, network_name(type(self.sword.policy)))

    def close(self) -> None:
        """Closes the recordings, if any."""
        if self.god.recorder is not None:
            self.god.recorder.close()

    def save(self) -> None:
        """Writes the checkpoint into the run's folder."""
        checkpoints.save(Path(self.config.run) / checkpoints.FILE, self.checkpoint())

    def _restore(self, stored: Checkpoint) -> None:
        load_policy(self.sword, stored)
        self.pantheon.restore(stored.part("optimizer"))
        checkpoints.restore(self.god.by_realm(), stored.part("realms"), "realms.")
        checkpoints.restore(self.god.state(), stored.part("god"), "god.")
        if distributed.rank():  # counts are sums over processes; the first process holds the stored ones
            for count in self.god.state().values():
                count.zero_()
        counters = stored.counters
        self.iteration, self.agent_steps = int(counters["iteration"]), int(counters["agent_steps"])
        self.seconds = counters["seconds"]


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _part(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = prefix + "."
    return {name[len(start) :]: tensor for name, tensor in tensors.items() if name.startswith(start)}


def load_policy(sword: Sword, stored: Checkpoint) -> None:
    """Loads a checkpoint's weights into a Sword.

    Raises CheckpointError, before anything is changed, if the Sword's network is not of the class that the
    checkpoint names, or if the tensors are not exactly those of the network."""
    check_network(type(sword.policy), stored.network)
    checkpoints.restore(sword.policy.state_dict(), stored.part("policy"), "policy.")


class StopRequest:
    """Turns Ctrl-C and SIGTERM into a flag, so that the current iteration is finished and saved.

    A second signal of the same kind has its ordinary effect."""

    def __init__(self) -> None:
        self.wanted = False

    def __enter__(self) -> StopRequest:
        self._before: dict[int, Any] = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.wanted = True
        signal.signal(number, self._before[number])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def train(config: TrainConfig, stored: Checkpoint | None = None, trinity: Trinity | None = None) -> Run:
    """Trains until a limit or a signal, with terminal output, curves and checkpoints.

    Processes started by torchrun train together, and the first of them reports. When torchrun restarts them
    because a process was lost, they resume from the last checkpoint.

    Args:
        config: the settings; for a stored run those that ``resume`` returns.
        stored: checkpoint to resume from; None starts a new run.
        trinity: classes to use in place of the default ones.

    Returns:
        The run, after its last checkpoint was saved.

    Raises ConfigError if the folder already holds a run, or cannot be written, and CheckpointError if the
    stored run was made of other classes; a run that the folder holds is unchanged then."""
    with distributed.process_group():
        # Checked first, so that a run that cannot start leaves no folder behind.
        device = resolve_device(config.env.device)
        backend = resolve(config.env.backend, device)
        mine = dataclasses.replace(config, env=distributed.shard(config.env))
        if device.type == "cuda" and backend.capturable:
            remedy = "realms, slots, horizon or hidden, or raise minibatches"
            check_memory(training_parts(mine), device, remedy)
        # Each machine's torchrun counts its own restarts.
        (restarted,) = distributed.all_reduce_max(distributed.restarted())
        if stored is None and restarted and (Path(config.run) / checkpoints.FILE).exists():
            stored = checkpoints.load(Path(config.run), torch.device("cpu"))
        if stored is None and distributed.rank() == 0:
            refuse_used_folder(config)
        # Refuses an unsuitable checkpoint, and writes nothing yet.
        run = Run(config, stored, trinity)
        with contextlib.closing(run):
            if distributed.rank() == 0:
                write_config(config)
            distributed.barrier()
            reporter = Reporter(run, resumed=stored is not None) if distributed.rank() == 0 else None
            with StopRequest() as stop, reporter or contextlib.nullcontext():
                _train(run, stop, reporter)
        if stop.wanted and reporter:
            reporter.say(f"stopped; saved in {config.run}; to resume: nmmo-gpu train --resume {config.run}")
    return run


def _train(run: Run, stop: StopRequest, reporter: Reporter | None) -> None:
    """Iterates until a limit is reached or any process is to stop, then writes the last checkpoint."""
    config = run.config
    saved, saved_iteration = time.monotonic(), -1
    newest: IterationStats | None = None

    def receive(stats: list[IterationStats]) -> None:
        nonlocal newest
        for newest in stats:
            if newest.report and reporter:
                reporter.report(newest)

    while True:
        late = time.monotonic() - saved >= config.checkpoint_minutes * 60
        done, stopping, due = distributed.all_reduce_max(run.progress(), stop.wanted, late)
        if done >= 1.0 or stopping:
            break
        receive(run.iterate(report=(run.iteration + 1) % config.log_every == 0))
        if due:
            receive(run.synchronize())
            run.save()
            saved, saved_iteration = time.monotonic(), run.iteration
    # The first signal is still only noted here, so it cannot prevent the save.
    receive(run.synchronize())
    if newest is not None and not newest.report:
        if reporter:
            reporter.report(newest)
        run.god.tally.reset()
    if run.iteration != saved_iteration:
        run.save()


def refuse_used_folder(config: TrainConfig) -> None:
    """Raises ConfigError if the run's folder already holds a checkpoint."""
    if (Path(config.run) / checkpoints.FILE).exists():
        raise ConfigError(
            f"run = {config.run!r} already holds a run; resume it with --resume {config.run}, choose another "
            "--run, or remove the folder."
        )


def write_config(config: TrainConfig) -> None:
    """Writes ``config.json`` into the run's folder, which is created if necessary.

    Raises ConfigError if the folder cannot be written."""
    folder = Path(config.run)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(to_plain(config), indent=2) + "\n")
    except OSError as error:
        raise ConfigError(
            f"run = {config.run!r} cannot be written ({error.strerror}); choose a writable folder."
        ) from error


def resume(path: str, **limits: Any) -> tuple[TrainConfig, Checkpoint]:
    """Loads a run for ``train``, which also needs the Trinity that the run was made with.

    Args:
        path: folder of the run, or its checkpoint file.
        limits: fields of the run's TrainConfig to replace, such as ``minutes``.

    Returns:
        config: the settings.
        checkpoint: the state in which the run stopped.

    Raises ConfigError if a limit has already been reached, CheckpointError if the checkpoint cannot be
    read."""
    stored = checkpoints.load(Path(path), torch.device("cpu"))
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    config = dataclasses.replace(stored.config, run=str(folder), **limits)
    if config.env.backend == "triton":  # a run started on a GPU can resume without one
        config = dataclasses.replace(config, env=dataclasses.replace(config.env, backend="auto"))
    run_limits = (config.minutes, config.iterations)
    done = (stored.counters["seconds"] / 60, stored.counters["iteration"])
    for name, limit, reached in zip(("minutes", "iterations"), run_limits, done, strict=True):
        if limit is not None and reached >= limit:
            raise ConfigError(
                f"{name} = {limit} has been reached by the run in {path} ({reached:.4g} so far); give a "
                f"larger --{name} to resume it."
            )
    return config, stored
