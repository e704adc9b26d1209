"""The commands that make recordings: nmmo-gpu export | play."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.progress import Progress

from nmmo_gpu.config import EnvConfig
from nmmo_gpu.config.bounds import Bounds, Port, check_fields
from nmmo_gpu.env import Env
from nmmo_gpu.errors import ConfigError, ReplayError, warn
from nmmo_gpu.files import clear_parts, make_folder, reason, replacing
from nmmo_gpu.replay.recorder import Recorder
from nmmo_gpu.replay.segment_writer import FOLDER
from nmmo_gpu.replay.writer import append_heat
from nmmo_gpu.train import checkpoint
from nmmo_gpu.train import play as playing
from nmmo_gpu.train.evaluate import Actor
from nmmo_gpu.train.trinity import trinity_named
from nmmo_gpu.world.device import resolve_device

CHUNK = 32
"""Ticks written at a time."""
CHUNK_LIVE = 4
"""Ticks written at a time with --view."""
RATE_LIVE = 4.0
"""Default number of ticks per second with --view."""
WHOLE = 1 << 50
"""A size limit that no file reaches, so that the recording is one file."""


@dataclass(frozen=True)
class ExportConfig:
    """Writes a checkpoint's world to a file for the viewer, optionally after playing some ticks."""

    run: Annotated[str, tyro.conf.Positional]
    """Folder of the run, or a checkpoint file."""
    ticks: Annotated[int, Bounds(ge=0)] = 0
    """Ticks to play with the checkpoint's policies; 0 writes only the current state."""
    realm: Annotated[int, Bounds(ge=0)] = 0
    """Number of the realm."""
    out: str | None = None
    """File to write; by default RUN/replays/export-<realm>-<tick>.replay."""
    values: bool = True
    """Include the value maps of every population and of their mean: a newborn's value on every tile."""
    device: str = "auto"
    """Device on which to play."""
    trinity: tuple[str, ...] = ()
    """Custom classes of the run, each as module:Class or file.py:Class: Sword, or its network."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class PlayConfig:
    """Plays a new world with a policy, and records it or shows it in the browser."""

    env: EnvConfig = dataclasses.field(default_factory=EnvConfig)
    """The world."""
    policy: str = "random"
    """The policy: random, forager, hunter, or the folder of a run."""
    ticks: Annotated[int, Bounds(ge=1)] | None = None
    """Ticks to play; by default 1000, or no limit with --view."""
    out: str | None = None
    """Folder for the recordings; required without --view."""
    view: bool = False
    """Show the world in the browser while it is played."""
    rate: Annotated[float, Bounds(ge=0)] = 0.0
    """Maximum number of ticks per second; by default (0) no limit, or 4 with --view."""
    port: Port | None = None
    """Port of the page; by default 8006, or the next free one."""
    browser: bool = True
    """Open the page in the browser, with --view."""
    trinity: tuple[str, ...] = ()
    """Custom classes of the run, each as module:Class or file.py:Class: Sword, or its network."""

    def __post_init__(self) -> None:
        check_fields(self)


def export(options: ExportConfig) -> Path:
    """Writes the file and returns its path."""
    device = resolve_device(options.device)
    stored = checkpoint.load(Path(options.run), device)
    sword = trinity_named(options.trinity).sword
    env, act = playing.continue_realm(stored, options.realm, device, sword)
    folder = Path(options.run) if Path(options.run).is_dir() else Path(options.run).parent
    tick = int(env.world.tick)
    name = f"export-{options.realm}-{tick}.replay"
    path = Path(options.out) if options.out else folder / FOLDER / name
    title = f"{folder.name}, realm {options.realm}"
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            clear_parts(path.parent)
            part = stack.enter_context(replacing(path))
        except (OSError, ValueError) as error:
            raise ReplayError(f"{path} cannot be written ({reason(error)}); choose another --out.") from error
        drafts = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nmmo-gpu-")))
        maps = playing.value_maps(stored, env, sword) if options.values else []
        file = drafts / "draft.replay"
        if options.ticks:
            recorder = Recorder(
                env, (env.config.first_realm,), CHUNK, drafts, folder.name, act.heads,
                limit=WHOLE, blocking=True,
            )  # fmt: skip
            with contextlib.closing(recorder):
                _play(env, act, recorder, options.ticks)
            (file,) = drafts.iterdir()
        else:
            playing.save_moment(env, file, title)
        for payload in maps:
            append_heat(file, payload, tick)
        try:
            shutil.copyfile(file, part)
        except OSError as error:
            raise ReplayError(f"{path} cannot be written ({reason(error)}); free disk space.") from error
    return path


def play(options: PlayConfig) -> Path:
    """Plays the given ticks, or until interrupted; returns the folder of the recordings."""
    if not options.view and options.out is None:
        raise ConfigError("nothing would be recorded or shown; give a folder with --out, or use --view.")
    if options.out is not None and any(Path(options.out).glob("*.replay")):
        raise ConfigError(f"out = {options.out!r} already holds recordings; choose another folder.")
    env, act = playing.begin(options.env, options.policy, trinity_named(options.trinity).sword)
    if options.out is not None:
        make_folder(Path(options.out), "out")
    with contextlib.ExitStack() as stack:
        folder = Path(options.out or stack.enter_context(tempfile.TemporaryDirectory(prefix="nmmo-gpu-")))
        recorder = Recorder(
            env, range(options.env.realms), CHUNK_LIVE if options.view else CHUNK, folder,
            f"played by {options.policy}", playing.recorded_heads(act), blocking=True,
        )  # fmt: skip
        stack.callback(recorder.close)
        if options.view:
            _play_watched(options, env, act, recorder, folder)
        else:
            _play(env, act, recorder, options.ticks or 1000, options.rate)
    return folder


def _play(env: Env, act: Actor, recorder: Recorder, ticks: int, rate: float = 0.0) -> None:
    """Plays with a progress bar."""
    with Progress(transient=True) as progress:
        task = progress.add_task("playing", total=ticks)
        playing.play(
            env,
            act,
            recorder,
            ticks,
            rate,
            on_progress=lambda played: progress.update(task, completed=played),
        )


def _play_watched(options: PlayConfig, env: Env, act: Actor, recorder: Recorder, folder: Path) -> None:
    """Plays in a thread while this thread serves the page, until the server is stopped."""
    from nmmo_gpu.view.serve import serve

    stop = threading.Event()
    failure: list[BaseException] = []

    def run() -> None:
        try:
            playing.play(env, act, recorder, options.ticks, options.rate or RATE_LIVE, stop.is_set)
        except BaseException as error:
            failure.append(error)
            warn(f"the world has stopped ({type(error).__name__}: {error}); end the server with Ctrl-C.")

    # Play the first frames before the page is served, so that it finds them.
    playing.play(env, act, recorder, CHUNK_LIVE)
    recorder.wait()
    player = threading.Thread(target=run, name="player")
    player.start()
    try:
        serve(folder, port=options.port, open_browser=options.browser)
    finally:
        stop.set()
        player.join()
    if failure:
        raise failure[0]
