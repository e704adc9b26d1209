"""The command that plays a world again, up to the tick at which it broke an invariant (``--check``)."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from nmmo_gpu.cli.systems import imports
from nmmo_gpu.errors import WorldError
from nmmo_gpu.train import checkpoint
from nmmo_gpu.train.config import TrainConfig

PLAY_ALONE = {"--view": 0, "--no-view": 0, "--browser": 0, "--no-browser": 0, "--port": 1, "--rate": 1,
              "--ticks": 1, "--out": 1, "--check": 0, "--no-check": 0}  # fmt: skip
"""Options of ``play`` that do not change the world or that the command sets itself, and how many values each
takes."""
BY_TIME = "with --minutes the learning rate depends on the time, so another run can differ"


@contextlib.contextmanager
def explained(command: Callable[[WorldError], str]) -> Iterator[None]:
    """A context that adds a note to a WorldError: the command that plays the world again."""
    try:
        yield
    except WorldError as error:
        error.add_note(command(error))
        raise


def play_again(arguments: list[str], out: str | None, error: WorldError) -> str:
    """Returns the note for ``play``: its world is a function of its options.

    Args:
        arguments: those of ``play``.
        out: the folder of its recordings, if any.
        error: what was raised."""
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, _, value = argument.partition("=")
        if name not in PLAY_ALONE:
            kept.append(argument)
        elif not value:
            for _ in range(PLAY_ALONE[name]):
                next(rest, None)
    # Reset is the first tick. A folder that holds recordings is refused.
    tick = error.tick or 1
    folder, number = f"{out or 'played'}-tick-{tick}", 1
    while Path(folder if number == 1 else f"{folder}-{number}").exists():
        number += 1
    folder = folder if number == 1 else f"{folder}-{number}"
    words = ["nmmo-gpu", "play", *kept, "--check", "--ticks", str(max(1, tick - 1)), "--out", folder]
    return f"to play it again up to this tick: {shlex.join(words)}"


def train_again(
    arguments: list[str], config: TrainConfig, trinity: tuple[str, ...], error: WorldError
) -> str:
    """Returns the note for ``train``: a run continues from its last checkpoint, or begins again without one.

    Args:
        arguments: those of ``train``.
        config: the settings of the run.
        trinity: the values of ``--trinity``.
        error: what was raised."""
    resumed = any(argument.partition("=")[0] == "--resume" for argument in arguments)
    if not resumed and (Path(config.run) / checkpoint.FILE).exists():
        classes = ["--trinity", *trinity] if trinity else []
        arguments = ["--resume", config.run, *imports(arguments), *classes]
    words = ["nmmo-gpu", "train", *arguments, *(["--check"] if "--check" not in arguments else [])]
    note = f"to train again up to tick {error.tick}: {shlex.join(words)}"
    return f"{note} ({BY_TIME})" if config.minutes is not None else note
