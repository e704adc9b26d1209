"""The command line: nmmo-gpu train | view | eval | export | play | bench | info | compile."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from rich.progress import Progress

from nmmo_gpu.cli.options import parse, split_preset
from nmmo_gpu.config import PRESETS
from nmmo_gpu.config.bounds import Port, check_fields
from nmmo_gpu.errors import NmmoError
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.world.device import resolve_device

if TYPE_CHECKING:
    from nmmo_gpu.benchmarks.bench import BenchConfig

USAGE = """\
usage: nmmo-gpu COMMAND ... [--help]

  nmmo-gpu train PRESET [options]    train policies; watch them with: tensorboard --logdir runs
  nmmo-gpu train --resume RUN        continue a run
  nmmo-gpu view RUN [options]        watch its recordings in a browser, also while it trains
  nmmo-gpu eval RUN [options]        play a checkpoint without learning, beside a random policy
  nmmo-gpu eval PRESET [options]     the same without a checkpoint; --scripted forager hunter adds these
  nmmo-gpu export RUN [options]      write a checkpoint's world, or ticks played from it, into a .replay file
  nmmo-gpu play PRESET [options]     play a new world with a random, scripted or trained policy; --view: watch
  nmmo-gpu bench PRESET [options]    measure environment, + policy and + training
  nmmo-gpu info PRESET [options]     the memory that each part of a training run takes
  nmmo-gpu compile PRESET [options]  compile the kernels of a training run ahead of it

PRESET is one of: {presets}
--trinity module:Class or file.py:Class, with train, eval, export, play and view, gives the custom classes of
a run: Sword, God, Pantheon or a network. Their code is run.
--scale laptop (as if not given) or --scale gpu, with train, bench, info and compile, chooses the defaults
of all options: how many realms, and how large a network.
--system module:Class or file.py:Class, with PRESET, adds a system to the rules; its settings become options:
--daylight.period 50. --reward module:function or file.py:function is a reward of one's own. --import module
or file.py, with all commands, imports the module first: needed to read a run that has such systems or
rewards. --system and --import can be repeated. All three run the code that they name.
"""


READER_GONE = 128 + 13
"""Exit status if the reader of the output has gone, as a shell reports it of a program ended by SIGPIPE."""


def main() -> None:
    """Entry point of the command line; exits with the status that ``run`` returns."""
    try:
        status = run(sys.argv[1:])
    except BrokenPipeError:
        status = READER_GONE
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        # The interpreter flushes again at its end, and would report the same failure.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def run(arguments: list[str]) -> int:
    """Runs a command line; returns the exit status.

    Expected errors, and those of the operating system, are printed without a traceback; the status is then
    2."""
    commands = {
        "train": _train, "view": _view, "eval": _eval, "export": _export, "play": _play, "bench": _bench,
        "info": _info, "compile": _compile,
    }  # fmt: skip
    usage = USAGE.format(presets=", ".join(PRESETS))
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage)
        return 0 if arguments else 2
    command = commands.get(arguments[0])
    if command is None:
        print(f"nmmo-gpu: {arguments[0]!r} is not a command.\n\n{usage}", file=sys.stderr)
        return 2
    try:
        command(arguments[1:])
    except BrokenPipeError:
        raise
    except (NmmoError, OSError) as error:
        print("\n".join((f"nmmo-gpu: {error}", *getattr(error, "__notes__", ()))), file=sys.stderr)
        return 2
    return 0


@dataclass(frozen=True)
class NewConfig:
    """Trains policies."""

    config: TrainConfig
    """The settings."""
    trinity: tuple[str, ...] = ()
    """Custom classes to train with, each as module:Class or file.py:Class: Sword, God, Pantheon, a network,
    or a Trinity."""


@dataclass(frozen=True)
class ResumeConfig:
    """Resumes a run with its own settings, except these."""

    resume: str
    """Folder of the run."""
    minutes: float | None = None
    """New limit in minutes of training, including the time before; by default the run's own limit."""
    iterations: int | None = None
    """New limit in iterations, including those before; by default the run's own limit."""
    checkpoint_minutes: float | None = None
    """Minutes between checkpoints."""
    log_every: int | None = None
    """Iterations between two points of the TensorBoard curves."""
    record: tuple[int, ...] | None = None
    """Indices of the realms to record from now on."""
    check: bool = False
    """Validate the world after each step, even if the run has not so far."""
    trinity: tuple[str, ...] = ()
    """Custom classes of the run, each as module:Class or file.py:Class: Sword, God, Pantheon, a network,
    or a Trinity."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class ViewConfig:
    """Serves the viewer until Ctrl-C."""

    run: Annotated[str, tyro.conf.Positional]
    """Folder of the run; or a .replay file, or a folder of .replay files."""
    port: Port | None = None
    """Port to listen on; by default 8006, or the next free port."""
    host: str = "127.0.0.1"
    """Address or host name to listen on; with 0.0.0.0, any machine that can reach this one can connect."""
    browser: bool = True
    """Open the page in the browser."""
    trinity: tuple[str, ...] = ()
    """Custom classes of the run, for value maps, each as module:Class or file.py:Class: Sword, or its
    network."""

    def __post_init__(self) -> None:
        check_fields(self)


def _train(arguments: list[str]) -> None:
    from nmmo_gpu.train import distributed

    with distributed.process_group():
        _train_together(_record_first(arguments))


def _record_first(arguments: list[str]) -> list[str]:
    """Returns the arguments with realm 0 inserted after a ``--record`` without a value."""
    completed: list[str] = []
    for argument, following in zip(arguments, [*arguments[1:], "--"], strict=False):
        completed += [argument, "0"] if argument == "--record" and following.startswith("-") else [argument]
    return completed


def _train_together(arguments: list[str]) -> None:
    from nmmo_gpu.cli.again import explained, train_again
    from nmmo_gpu.train.presets import train_preset
    from nmmo_gpu.train.run import resume, train
    from nmmo_gpu.train.trinity import trinity_named

    if "--resume" in arguments or any(a.startswith("--resume=") for a in arguments):
        options = parse(ResumeConfig, arguments, "nmmo-gpu train")
        limits = {name: value for name, value in vars(options).items() if value is not None}
        trinity = trinity_named(limits.pop("trinity"))
        check = limits.pop("check")
        config, stored = resume(limits.pop("resume"), **limits)
        if check:
            config = dataclasses.replace(config, env=dataclasses.replace(config.env, check=True))
        with explained(lambda error: train_again(arguments, config, options.trinity, error)):
            train(config, stored, trinity)
        return
    name, scale, rest = split_preset(arguments, "train")
    new = parse(NewConfig, rest, f"nmmo-gpu train {name}", NewConfig(train_preset(name, scale)))
    trinity = trinity_named(new.trinity)
    with explained(lambda error: train_again(arguments, new.config, new.trinity, error)):
        train(new.config, trinity=trinity)


def _view(arguments: list[str]) -> None:
    from nmmo_gpu.train.trinity import trinity_named
    from nmmo_gpu.view.serve import serve

    options = parse(ViewConfig, arguments, "nmmo-gpu view")
    serve(
        Path(options.run), options.host, options.port, options.browser, trinity_named(options.trinity).sword
    )


def _eval(arguments: list[str]) -> None:
    from nmmo_gpu.cli.evaluate import EvalConfig, evaluate

    evaluate(parse(EvalConfig, arguments, "nmmo-gpu eval"))


def _export(arguments: list[str]) -> None:
    from nmmo_gpu.cli.replay import ExportConfig, export

    print(export(parse(ExportConfig, arguments, "nmmo-gpu export")))


def _play(arguments: list[str]) -> None:
    from nmmo_gpu.cli.again import explained, play_again
    from nmmo_gpu.cli.replay import PlayConfig, play
    from nmmo_gpu.train.presets import train_preset

    name, _, rest = split_preset(arguments, "play")
    env = dataclasses.replace(train_preset(name).env, realms=1)
    options = parse(PlayConfig, rest, f"nmmo-gpu play {name}", PlayConfig(env))
    with explained(lambda error: play_again(arguments, options.out, error)):
        print(play(options))


def _bench(arguments: list[str]) -> None:
    from nmmo_gpu.benchmarks.bench import COLUMNS, BenchConfig, bench
    from nmmo_gpu.train.presets import train_preset

    name, scale, rest = split_preset(arguments, "bench")
    preset = train_preset(name, scale)
    # Slots are refilled immediately, so that worlds are full even if the agents do not learn.
    full = dataclasses.replace(preset.env, world=dataclasses.replace(preset.env.world, births=-1))
    default = BenchConfig(env=full, policy=preset.policy, ppo=preset.ppo)
    if preset.env.realms == 1:
        default = dataclasses.replace(default, batches=(1,))
    config = parse(BenchConfig, rest, f"nmmo-gpu bench {name}", default)
    if config.adapters:
        _bench_adapters(config)
        return
    columns = (*COLUMNS, "ticks/s")
    print(f"{'realms x slots':>16}" + "".join(f"{column:>15}" for column in columns))

    def report(row: dict[str, Any]) -> None:
        rates = "".join(f"{row[column]:15,.0f}" if column in row else f"{'-':>15}" for column in columns)
        print(f"{row['realms']:>6} x {row['slots']:<7}" + rates, flush=True)

    bench(config, report)
    print("agent-steps of living agents per second; ticks per second of the environment alone")


def _bench_adapters(config: BenchConfig) -> None:
    from nmmo_gpu.benchmarks.adapters import bench_adapters

    def report(row: dict[str, Any]) -> None:
        if "missing" in row:
            print(f"{row['name']:22} {row['missing']}", flush=True)
            return
        size = f"{row['realms']} x {row['slots']}"
        print(f"{row['name']:22}{size:>16}{row['rate']:16,.0f}{row['share']:11.1%}", flush=True)

    print(f"{'':22}{'realms x slots':>16}{'agent-steps/s':>16}{'of native':>11}")
    bench_adapters(config, report)
    print("environment alone, random actions made beforehand; of one agent its own steps are counted")


def _info(arguments: list[str]) -> None:
    from nmmo_gpu.train.memory_estimate import training_parts
    from nmmo_gpu.train.presets import train_preset
    from nmmo_gpu.world.memory import GIB, available

    name, scale, rest = split_preset(arguments, "info")
    config = parse(type(default := train_preset(name, scale)), rest, f"nmmo-gpu info {name}", default)
    config.check_training()
    device = resolve_device(config.env.device)
    world_config = config.env.world
    print(
        f"{config.env.realms} realms of {world_config.slots} slots on {world_config.height} x "
        f"{world_config.width} tiles, GiB:"
    )
    parts = training_parts(config)
    for part in parts:
        print(f"{part.bytes / GIB:10.3f}  {part.name}")
    print(f"{sum(part.bytes for part in parts) / GIB:10.3f}  in all, as trained on a GPU")
    free = available(device)
    if free is not None:
        print(f"{free / GIB:10.3f}  free on {device} now")


def _compile(arguments: list[str]) -> None:
    from nmmo_gpu.train.compile import CompileConfig, compile_ahead
    from nmmo_gpu.train.presets import train_preset

    name, scale, rest = split_preset(arguments, "compile")
    default = CompileConfig(train_preset(name, scale))
    config = parse(CompileConfig, rest, f"nmmo-gpu compile {name}", default)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("kernels", total=None)
        start = time.perf_counter()
        count = compile_ahead(config, lambda done, total: progress.update(task, completed=done, total=total))
    print(f"{count} kernels are in Triton's cache, after {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
