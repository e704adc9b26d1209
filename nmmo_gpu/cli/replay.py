"""The commands about recordings: nmmo-gpu export | play."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.progress import Progress

from nmmo_gpu.config import EnvConfig
from nmmo_gpu.env import Env
from nmmo_gpu.errors import ConfigError, ReplayError
from nmmo_gpu.replay.recorder import Recorder
from nmmo_gpu.replay.segment_writer import FOLDER
from nmmo_gpu.replay.writer import append_heat
from nmmo_gpu.train import checkpoint
from nmmo_gpu.train import play as playing
from nmmo_gpu.train.evaluate import Actor
from nmmo_gpu.train.trinity import sword_named
from nmmo_gpu.world.device import resolve_device

CHUNK = 32
"""Ticks that are written at a time."""
CHUNK_LIVE = 4
"""The same where somebody is watching."""
RATE_LIVE = 4.0
"""Ticks per second where somebody is watching."""
WHOLE = 1 << 50
"""More bytes than a file will have: it is not divided."""


@dataclass(frozen=True)
class ExportConfig:
    """A checkpoint's world in a file for the viewer, as it is or played on."""

    run: Annotated[str, tyro.conf.Positional]
    """Folder of the run, or a checkpoint file."""
    ticks: int = 0
    """Ticks to play on, by the checkpoint's policies; 0: only the moment."""
    realm: int = 0
    """Number of the realm."""
    out: str | None = None
    """File to write; by default RUN/replays/export-<realm>-<tick>.replay."""
    values: bool = True
    """Put in the value map of every population, and their mean: what a newborn is worth on every tile."""
    device: str = "auto"
    """Where to play."""
    network: str | None = None
    """The run's network, if it is not the stock one: module:Class, or file.py:Class."""


@dataclass(frozen=True)
class PlayConfig:
    """A new world played by a policy, into a file or to be watched."""

    env: EnvConfig = dataclasses.field(default_factory=EnvConfig)
    """The world."""
    policy: str = "random"
    """Who acts: random, forager, hunter, or the folder of a run."""
    ticks: int | None = None
    """Ticks to play; by default 1000, or without end where somebody is watching."""
    out: str | None = None
    """Folder for the recordings; needed without --view."""
    view: bool = False
    """Watch it in the browser meanwhile."""
    rate: float = 0.0
    """Ticks per second at most; by default as fast as it goes, or 4 where somebody is watching."""
    port: int | None = None
    """Port of the page; by default 8006, or the next that is free."""
    browser: bool = True
    """Open the page in the browser, where somebody is watching."""
    network: str | None = None
    """The run's network, if it is not the stock one: module:Class, or file.py:Class."""


def export(options: ExportConfig) -> Path:
    """Writes the file, and returns its path."""
    if options.ticks < 0:
        raise ConfigError(f"ticks = {options.ticks} cannot be played; choose 0 or more.")
    device = resolve_device(options.device)
    stored = checkpoint.load(Path(options.run), device)
    sword = sword_named(options.network)
    env, act = playing.go_on(stored, options.realm, device, sword)
    folder = Path(options.run) if Path(options.run).is_dir() else Path(options.run).parent
    tick = int(env.world.tick)
    name = f"export-{options.realm}-{tick}.replay"
    path = Path(options.out) if options.out else folder / FOLDER / name
    title = f"{folder.name}, realm {options.realm}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Moved to its place when it is whole: a play that is broken off leaves a former file as it was.
        folder_aside = tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-")
    except OSError as error:
        raise ReplayError(f"{path} cannot be written ({error.strerror}); choose another --out.") from error
    with folder_aside as aside:
        maps = playing.value_maps(stored, env, sword) if options.values else []
        file = Path(aside) / path.name
        if options.ticks:
            recorder = Recorder(
                env, (env.config.first_realm,), CHUNK, Path(aside), folder.name, act.sword.choices(),
                limit=WHOLE, blocking=True,
            )  # fmt: skip
            with contextlib.closing(recorder):
                _play_on(env, act, recorder, options.ticks)
            (file,) = Path(aside).iterdir()
        else:
            playing.save_moment(env, file, title)
        for payload in maps:
            append_heat(file, payload, tick)
        file.replace(path)
    return path


def play(options: PlayConfig) -> Path:
    """Plays until the ticks are over, or somebody interrupts; returns the folder of the recordings."""
    if not options.view and options.out is None:
        raise ConfigError("nothing would be kept of it: give a folder by --out, or watch it by --view.")
    if options.ticks is not None and options.ticks < 1:
        raise ConfigError(f"ticks = {options.ticks} cannot be played; choose 1 or more.")
    if not options.rate >= 0:
        raise ConfigError(f"rate = {options.rate} is not a rate; choose ticks per second, or 0 for no limit.")
    if options.out is not None and any(Path(options.out).glob("*.replay")):
        raise ConfigError(f"out = {options.out!r} holds recordings already; choose another folder.")
    env, act = playing.begin(options.env, options.policy, sword_named(options.network))
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
            _play_on(env, act, recorder, options.ticks or 1000, options.rate)
    return folder


def _play_on(env: Env, act: Actor, recorder: Recorder, ticks: int, rate: float = 0.0) -> None:
    """Plays, and shows how far it has come."""
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
    """Plays in a thread while the page is served, until the server is stopped."""
    from nmmo_gpu.view.serve import serve

    stop = threading.Event()
    failure: list[BaseException] = []

    def run() -> None:
        try:
            playing.play(env, act, recorder, options.ticks, options.rate or RATE_LIVE, stop.is_set)
        except BaseException as error:
            failure.append(error)

    # The first frames are there when the page asks for them.
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
