"""Reports of a training run: curves for TensorBoard, and a line or panel on the terminal."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from nmmo_gpu.train.economy import economy_metrics
from nmmo_gpu.train.metrics import summarize
from nmmo_gpu.train.progress import Progress, duration, quantity
from nmmo_gpu.train.tensorboard import Dashboard

if TYPE_CHECKING:
    from nmmo_gpu.train.run import IterationStats, Run


class Reporter:
    """Reports the statistics of a run; a context manager around its training."""

    def __init__(self, run: Run, resumed: bool) -> None:
        """Opens the TensorBoard files and the terminal output.

        Args:
            run: the run.
            resumed: whether it resumes a checkpoint; later points of the existing curves are dropped."""
        self.run = run
        folder = Path(run.config.run)
        self.board = Dashboard(folder, run.config, run.agent_steps if resumed else None)
        self.progress = Progress(f"nmmo-gpu {folder}")

    def __enter__(self) -> Reporter:
        self.progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.finish()
        self.progress.__exit__(kind, error, trace)
        self.board.close()

    def say(self, text: str) -> None:
        """Prints a line."""
        self.progress.console.print(text)

    def report(self, stats: IterationStats) -> None:
        """Writes curves and terminal output after an iteration with ``stats.report``."""
        run, config = self.run, self.run.config
        world = summarize(stats.counts)
        if stats.economy:
            lived = round(world["agent_steps"])
            world |= economy_metrics(config.env.world, run.reported, stats.economy, lived, config.env.realms)
            run.reported = stats.economy
        learner = {f"learning/{name}": float(value.mean()) for name, value in stats.statistics.items()}
        rate = stats.steps / stats.seconds
        rates = {
            "rate/agent-steps per second": rate,
            "rate/share of time in rollouts": stats.collect_share,
            "rate/learning rate": run.pantheon.learning_rate(run.schedule()),
        }
        self.board.curves(world | learner | rates, run.agent_steps)
        self.board.visits(run.god.visits, run.agent_steps)
        self.progress.show(self._shown(stats, world, learner, rate))

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
