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

from nmmo_gpu.config.serialise import to_plain
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
from nmmo_gpu.train.trinity import Sword, Trinity
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.device import resolve_device
from nmmo_gpu.world.memory import check_memory


class IterationStats(NamedTuple):
    """What is known of an iteration once the device is through with it."""

    iteration: int
    """Its number, from 1."""
    report: bool
    """The tally's counts end here."""
    steps: int
    """Agent-steps."""
    seconds: float
    """How long it took."""
    collect_share: float
    """Share of that in the rollout."""
    counts: dict[str, Tensor]
    """The tally's tensors (``Tally.state``), since the last report."""
    statistics: dict[str, Tensor]
    """The learner's, [P] each."""
    economy: dict[str, Tensor]
    """``nmmo_gpu.train.economy.economy_counts`` at the end of the rollout; empty where there is no full
    game."""


class _Pending(NamedTuple):
    iteration: int
    report: bool
    start: Timestamp
    collected: Timestamp
    end: Timestamp


class Run:
    """One training run: the three of Trinity, counters and a folder."""

    def __init__(self, config: TrainConfig, stored: Checkpoint | None = None, trinity: Trinity | None = None):
        """Begins a run, or goes on with a stored one.

        Args:
            config: the settings; of a stored run its own, but for the limits.
            stored: from ``checkpoint.load``.
            trinity: classes to use in place of the stock ones; for a stored run those that it was made of.

        Raises CheckpointError if the stored run was made of other classes, as far as its tensors and the name
        of its network tell.
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
        distributed.all_reduce_sum(self.reported.values())
        """Economy counts of the last report; at first those of the world as it was found."""
        if stored is not None:
            self._restore(stored)

    def iterate(self, report: bool = False) -> list[IterationStats]:
        """One rollout and one update, in all processes together; the statistics are of all of them.

        Args:
            report: the tally begins anew after this iteration.

        Returns:
            What became known since the last call. On a CPU, this iteration's statistics. On a GPU, which is
                not waited for, those of the iteration before. ``agent_steps`` and ``seconds`` include the
                same iterations.
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
        """Waits for what is still under way."""
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
        """Share of the run that is done, 0 to 1; 0 for a run without limit."""
        shares = [0.0]
        if self.config.minutes is not None:
            shares.append(self.seconds / 60 / self.config.minutes)
        if self.config.iterations is not None:
            shares.append(self.iteration / self.config.iterations)
        return min(1.0, max(shares))

    def checkpoint(self) -> Checkpoint:
        """Everything that is needed to go on; to be taken when all is settled."""
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
        """Ends the recordings, if there are any."""
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
        if distributed.rank():  # the sums go on in the first process
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
    """Puts a checkpoint's weights into a Sword.

    Raises CheckpointError, before anything has changed, if the Sword's network is another class than the one
    that the checkpoint names, or the tensors are not exactly those of the network."""
    check_network(type(sword.policy), stored.network)
    checkpoints.restore(sword.policy.state_dict(), stored.part("policy"), "policy.")


class StopRequest:
    """Turns Ctrl-C and SIGTERM into a flag, so that the iteration in hand is finished and saved.

    A second Ctrl-C is the ordinary one again."""

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
    """Trains until a limit or a signal, with progress, curves and checkpoints; returns the run.

    In a process that torchrun started it trains together with the others; the first of them reports. One that
    torchrun starts again, because a process was lost, goes on from the last checkpoint.

    Args:
        config: the settings; of a stored run those that ``resume`` returns.
        stored: checkpoint to go on from; None begins a new run.
        trinity: classes to use in place of the stock ones.

    Returns:
        The run, after its last checkpoint was saved.

    Raises ConfigError if the folder already holds a run, or cannot be written, and CheckpointError if the
    stored run was made of other classes; a run that the folder holds is unchanged then."""
    with distributed.process_group():
        # What cannot run leaves no folder behind.
        device = resolve_device(config.env.device)
        backend = resolve(config.env.backend, device)
        mine = dataclasses.replace(config, env=distributed.shard(config.env))
        if device.type == "cuda" and backend.capturable:
            remedy = "realms, slots, horizon or hidden, or raise minibatches"
            check_memory(training_parts(mine), device, remedy)
        (restarted,) = distributed.all_reduce_max(
            distributed.restarted()
        )  # each machine's torchrun counts for itself
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
            reporter.say(f"stopped; saved in {config.run}; go on with: nmmo-gpu train --resume {config.run}")
    return run


def _train(run: Run, stop: StopRequest, reporter: Reporter | None) -> None:
    """Iterations until the limit or until a stop is wanted, in any process; then the last checkpoint."""
    config = run.config
    saved, saved_iteration = time.monotonic(), -1
    newest: IterationStats | None = None

    def hear(stats: list[IterationStats]) -> None:
        nonlocal newest
        for newest in stats:
            if newest.report and reporter:
                reporter.report(newest)

    while True:
        late = time.monotonic() - saved >= config.checkpoint_minutes * 60
        done, stopping, due = distributed.all_reduce_max(run.progress(), stop.wanted, late)
        if done >= 1.0 or stopping:
            break
        hear(run.iterate(report=(run.iteration + 1) % config.log_every == 0))
        if due:
            hear(run.synchronize())
            run.save()
            saved, saved_iteration = time.monotonic(), run.iteration
    # Still shielded from the first signal: whenever it comes, what has been learned is saved.
    hear(run.synchronize())
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
            f"run = {config.run!r} already holds a run; go on with it by --resume {config.run}, choose "
            "another --run, or remove the folder."
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
            f"run = {config.run!r} cannot be written ({error.strerror}); choose a folder that you may write."
        ) from error


def resume(path: str, **limits: Any) -> tuple[TrainConfig, Checkpoint]:
    """What ``train`` needs to go on with a run, together with the Trinity that the run was made with.

    Args:
        path: folder of the run, or its checkpoint file.
        limits: fields of the run's TrainConfig to replace, such as ``minutes``.

    Returns:
        config: the settings.
        checkpoint: where the run stopped.

    Raises ConfigError if a limit has been reached already, and CheckpointError if the checkpoint cannot be
    read."""
    stored = checkpoints.load(Path(path), torch.device("cpu"))
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    config = dataclasses.replace(stored.config, run=str(folder), **limits)
    if config.env.backend == "triton":  # what was begun on a GPU can go on without
        config = dataclasses.replace(config, env=dataclasses.replace(config.env, backend="auto"))
    run_limits = (config.minutes, config.iterations)
    done = (stored.counters["seconds"] / 60, stored.counters["iteration"])
    for name, limit, reached in zip(("minutes", "iterations"), run_limits, done, strict=True):
        if limit is not None and reached >= limit:
            raise ConfigError(
                f"{name} = {limit} has been reached by the run in {path} ({reached:.4g} so far); give a "
                f"larger --{name} to go on."
            )
    return config, stored
