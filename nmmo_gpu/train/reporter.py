"""Reports of a training run: curves for TensorBoard, and a line or panel on the terminal."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from nmmo_gpu.errors import warn
from nmmo_gpu.train.metrics import summarize
from nmmo_gpu.train.progress import Progress, duration, quantity
from nmmo_gpu.train.tensorboard import Dashboard
from nmmo_gpu.train.world_metrics import world_metrics

if TYPE_CHECKING:
    from nmmo_gpu.train.run import IterationStats, Run


REOPEN_SECONDS = 60.0
"""Time before the first attempt to open files again that could not be written."""


class Reporter:
    """Reports the statistics of a run; a context manager around its training."""

    def __init__(self, run: Run, resumed: bool) -> None:
        """Opens the TensorBoard files and the terminal output.

        Args:
            run: the run.
            resumed: whether it resumes a checkpoint; later points of the existing curves are dropped."""
        self.run = run
        folder = Path(run.config.run)
        self.progress = Progress(f"nmmo-gpu {folder}")
        self.dashboard: Dashboard | None = None
        """The TensorBoard files; None while they cannot be written."""
        self._reopen_time, self._reopen_wait = 0.0, REOPEN_SECONDS
        self._open_dashboard(run.agent_steps if resumed else None)

    def _open_dashboard(self, resumed_at: int | None) -> None:
        try:
            self.dashboard = Dashboard(Path(self.run.config.run), self.run.config, resumed_at)
        except Exception as error:
            self._dashboard_failed(error)

    def _dashboard_failed(self, error: Exception) -> None:
        """Gives the files up until later; says so once."""
        if self._reopen_time == 0.0:
            warn(
                f"TensorBoard's files cannot be written ({error}); free disk space. Training goes on, and "
                "curves are written again when it is possible."
            )
        if self.dashboard is not None:
            with contextlib.suppress(Exception):
                self.dashboard.close()
            self.dashboard = None
        # Each attempt leaves another file, so they become rarer.
        self._reopen_time, self._reopen_wait = time.monotonic() + self._reopen_wait, self._reopen_wait * 2

    def __enter__(self) -> Reporter:
        self.progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.finish()
        self.progress.__exit__(kind, error, trace)
        if self.dashboard is not None:
            try:
                self.dashboard.close()
            except Exception as failure:
                self._dashboard_failed(failure)

    def say(self, text: str) -> None:
        """Prints a line."""
        self.progress.say(text)

    def report(self, stats: IterationStats) -> None:
        """Writes curves and terminal output after an iteration with ``stats.report``."""
        run, config = self.run, self.run.config
        world = summarize(stats.counts)
        if stats.world:
            lived = round(world["agent_steps"])
            world |= world_metrics(config.env.world, run.reported, stats.world, lived, config.env.realms)
            run.reported = stats.world
        learner = {f"learning/{name}": float(value.mean()) for name, value in stats.statistics.items()}
        rate = stats.steps / stats.seconds
        rates = {
            "rate/agent-steps per second": rate,
            "rate/share of time in rollouts": stats.collect_share,
            "rate/learning rate": run.pantheon.learning_rate(run.schedule()),
        }
        self._draw(world | learner | rates)
        self.progress.show(self._shown(stats, world, learner, rate))

    def _draw(self, values: dict[str, float]) -> None:
        """Adds points to the curves, and the heat map."""
        run = self.run
        if self.dashboard is None and time.monotonic() >= self._reopen_time:
            self._open_dashboard(run.agent_steps)
        if self.dashboard is not None:
            try:
                self.dashboard.curves(values, run.agent_steps)
                self.dashboard.visits(run.god.visits, run.agent_steps)
            except Exception as error:
                self._dashboard_failed(error)

    def _shown(
        self, stats: IterationStats, world: dict[str, float], learner: dict[str, float], rate: float
    ) -> dict[str, str]:
        run = self.run
        done = run.progress()
        shown = {
            "iteration": str(stats.iteration),
            "agent-steps": quantity(run.agent_steps),
            "rate": quantity(rate) + "/s",
            "lifetime": f"{world['lifetime/mean']:.1f}" if "lifetime/mean" in world else "-",
            "alive": f"{world['population/alive per realm']:.0f}",
            **({"levels": f"{world['level/total']:.1f}"} if "level/total" in world else {}),
            **{title: f"{learner[name]:.{places}f}" for title, name, places in SHOWN if name in learner},
            "time": duration(run.seconds),
        }
        if done > 0:
            shown["left"] = duration(run.seconds * (1 - done) / done)
        return shown


SHOWN = (
    ("entropy", "learning/entropy", 2),
    ("kl", "learning/kl", 4),
    ("value loss", "learning/value_loss", 4),
)
"""Title, name and number of decimals of the learner's statistics on the terminal, if it returns them."""
