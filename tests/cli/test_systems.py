"""``--system``, ``--import`` and ``--reward``: rules and rewards from outside of the package, by name."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import TINY, output_of
from support.systems import Flags, paid_twice
from train.small import CPU, small

from nmmo_gpu.benchmarks.bench import BenchConfig
from nmmo_gpu.cli.options import parse
from nmmo_gpu.cli.replay import PlayConfig
from nmmo_gpu.config import EnvConfig, RewardFunction
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train.compile import CompileConfig
from nmmo_gpu.train.config import TrainConfig

ROOT = Path(__file__).parents[2]
DAYLIGHT = ROOT / "examples" / "systems" / "daylight.py"
FLAGS, IDLE, PAID = (f"support.systems:{name}" for name in ("Flags", "Idle", "paid_twice"))
WORLD = TINY[:8]
DEFAULTS = {
    TrainConfig: lambda: small(),
    PlayConfig: lambda: PlayConfig(small().env),
    BenchConfig: lambda: BenchConfig(small().env, small().policy, small().ppo),
    CompileConfig: lambda: CompileConfig(small()),
}


@pytest.fixture(autouse=True)
def forget_files(tmp_path):
    """Forgets the modules that a test imports from its own files."""
    yield
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and Path(file).is_relative_to(tmp_path):
            del sys.modules[name]


def env_in(options):
    """Returns the EnvConfig in the options of a command."""
    return options.train.env if isinstance(options, CompileConfig) else options.env


# ------------------------------------------------------------------------------------------------- systems


@pytest.mark.parametrize("kind", DEFAULTS)
def test_each_command_that_takes_a_preset_adds_systems(kind):
    """Settings have their system's name before them, in any of tyro's forms; the other options and defaults
    are as without systems."""
    arguments = ["--system", FLAGS, f"--system={DAYLIGHT}:Daylight", "--flags.flags", "5", "--flags.no-windy",
                 "--daylight.period=50", "--vision", "5", "--seed", "9"]  # fmt: skip
    default = DEFAULTS[kind]()
    options = parse(kind, arguments, "test", default)
    flags, daylight = env_in(options).world.systems
    assert flags == Flags(flags=5, windy=False)
    assert (type(daylight).__module__, daylight.period, daylight.night) == ("daylight", 50, 3)
    assert type(options) is kind and env_in(options).seed == 9 and env_in(options).world.vision == 5
    plain = parse(kind, arguments[-4:], "test", default)
    assert type(plain) is kind and env_in(plain).world.systems == ()
    stock = parse(kind, [], "test", default)
    assert stock == default and type(stock) is kind


def test_a_system_can_have_required_settings(capsys):
    with pytest.raises(SystemExit):
        parse(TrainConfig, ["--system", IDLE], "test", small())
    assert "--idle.size" in capsys.readouterr().err
    parsed = parse(TrainConfig, ["--system", IDLE, "--idle.size", "4"], "test", small())
    assert parsed.env.world.systems[0].size == 4


def test_a_system_may_need_rules_that_other_options_turn_on(tmp_path):
    """So its settings are checked with all options, not with the preset alone."""
    (tmp_path / "needy_system.py").write_text(
        "from dataclasses import dataclass\n"
        "from nmmo_gpu.systems import System, refuse\n"
        "@dataclass(frozen=True)\n"
        "class NightShift(System):\n"
        "    tall_enough: int = 1\n"
        "    def validate(self, config):\n"
        "        if not config.tokens: refuse(self, 'tall_enough', 'needs tokens', 'turn them on')\n"
    )
    system = ["--system", f"{tmp_path / 'needy_system.py'}:NightShift"]
    for spelling in ("--night-shift.tall-enough", "--night_shift.tall_enough"):
        parsed = parse(TrainConfig, [*system, "--tokens", "4", spelling, "7"], "test", small())
        assert parsed.env.world.systems[0].tall_enough == 7
    with pytest.raises(ValueError, match="tall_enough = 1 needs tokens; turn them on"):
        parse(TrainConfig, system, "test", small())


def test_help_lists_systems_and_settings(capsys):
    """Under a heading for each system, with its docstring and those of its settings."""
    out, _ = output_of(capsys, ["play", "chaos", "--system", FLAGS, "--help"], 0)
    for words in (
        "flags options", "a random wind moves", "--flags.flags INT Number of flags. (default: 3)",
        "--flags.windy, --flags.no-windy", "--system MODULE:CLASS|FILE.PY:CLASS",
        "--import MODULE|FILE.PY", "--reward {alive,death,none}|MODULE:FUNCTION",
    ):  # fmt: skip
        assert words in out, words
    for command in (["train", "--resume", "x"], ["view"], ["export"]):
        out, _ = output_of(capsys, [*command, "--help"], 0)
        assert "--import MODULE" in out and "--system" not in out, command
    out, _ = output_of(capsys, ["train", "chaos", "--help"], 0)
    assert "--systems" not in out, "the field of WorldConfig is not an option"


@pytest.mark.parametrize(("options", "said"), [
    (["--system", FLAGS, "--flags.flugs", "3"],
     "--flags.flugs is not a setting of Flags; choose --flags.flags, --flags.pay, --flags.windy."),
    (["--system", FLAGS, "--flags.count-all=3"], "--flags.count-all is not a setting of Flags; choose"),
    (["--flags.flags", "3"], "Unrecognized options: --flags.flags"),
    (["--system", FLAGS, "--flags.flags", "0"], "flags = 0 is out of range; choose an integer from 1 to 100"),
    (["--system", FLAGS, "--flags.flags", "many"], "Error parsing --flags.flags"),
    (["--system", f"{DAYLIGHT}:Daylight", "--daylight.night", "9"], "night = 9 is above vision = 7"),
    (["--system", FLAGS, "--system", FLAGS], "a system of the name flags is given already"),
    (["--system"], "--system"),
    (["--system", "support.systems"], "'support.systems' does not name a class; give module:Class, or"),
    (["--system", "support.systems:Flegs"], "support.systems has no Flegs; give module:Class"),
    (["--system", "no_module:Flags"], "the module no_module does not exist; add its folder to PYTHONPATH"),
    (["--system", ".near:Flags"], "the module .near does not exist"),
    (["--system", "no/such/file.py:Flags"], "the file no/such/file.py does not exist"),
    (["--system", "support.systems:GALE"], "is not a subclass of nmmo_gpu.systems.System; give module:Class"),
    (["--system", PAID], "is not a subclass of nmmo_gpu.systems.System"),
    (["--system", "nmmo_gpu.systems:System"], "is not a frozen dataclass; decorate it"),
    (["--import", "no_such_module"], "--import = 'no_such_module': the module no_such_module does not exist"),
    (["--import", "missing.py"], "the file missing.py does not exist; give a module, or a .py file"),
    (["--reward", "alife"], "reward = 'alife' is unknown; choose alive, death, none, or give module:"),
    (["--reward", "support.systems:paid"], "support.systems has no paid; give module:function"),
    (["--reward", "support.systems:GALE"], "is not a function; give one that returns [R, A] float32"),
])  # fmt: skip
def test_wrong_names_and_settings_are_refused(capsys, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    out, err = output_of(capsys, ["train", "chaos", *options], 2)
    assert said in err
    assert not out and not list(tmp_path.iterdir())


def test_a_file_must_not_have_the_name_of_another_module(capsys, tmp_path):
    """Because the classes in it are found by that name."""
    (tmp_path / "json.py").write_text("")
    _, err = output_of(capsys, ["play", "chaos", "--import", tmp_path / "json.py"], 2)
    assert "another module of the name json is already imported; rename the file" in err
    (tmp_path / "broken_rules.py").write_text("import no_such_module")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        parse(PlayConfig, ["--import", str(tmp_path / "broken_rules.py")], "test")
    assert "broken_rules" not in sys.modules


# ------------------------------------------------------------------------------------------------- rewards


def test_a_reward_is_a_name_or_a_function(tmp_path):
    assert parse(EnvConfig, [], "test").reward == "alive"
    assert parse(EnvConfig, ["--reward", "death"], "test").reward == "death"
    assert parse(EnvConfig, ["--reward", PAID], "test").reward == RewardFunction(paid_twice)
    (tmp_path / "my_reward.py").write_text("def pay(world, before): return None\n")
    reward = parse(EnvConfig, ["--reward", f"{tmp_path / 'my_reward.py'}:pay"], "test").reward
    assert reward.function.__module__ == "my_reward"
    default = EnvConfig(reward=paid_twice)
    assert parse(EnvConfig, ["--seed", "3"], "test", default).reward == RewardFunction(paid_twice)


# ---------------------------------------------------------------------------------------------------- runs


def test_runs_with_systems_and_rewards(capsys, tmp_path, monkeypatch):
    """A run is trained, resumed, evaluated, exported and played. Each command that reads it says which import
    is missing, and works with it."""
    monkeypatch.chdir(tmp_path)
    Path("sunny.py").write_text(DAYLIGHT.read_text())
    Path("paying.py").write_text("from support.systems import paid_twice as pay\n")
    rules = [
        "--system", "sunny.py:Daylight", "--daylight.period", 50, "--system", IDLE, "--idle.size", 2,
        "--system", FLAGS, "--reward", "paying.py:pay",
    ]  # fmt: skip
    output_of(capsys, ["train", "chaos", *TINY, "--iterations", 1, "--run", "run", *rules], 0)
    stored = checkpoints.load(Path("run"), CPU).config.env
    assert stored.reward == RewardFunction(paid_twice)
    assert [system.name for system in stored.world.systems] == ["daylight", "idle", "flags"]
    play = ["play", "chaos", *WORLD, "--policy", "run", "--ticks", 2, "--device", "cpu", "--out", "played"]
    commands = [
        ["train", "--resume", "run", "--iterations", 2],
        ["eval", "run", "--realms", 1, "--max-ticks", 20, "--device", "cpu", "--no-full"],
        ["export", "run", "--ticks", 2, "--device", "cpu"],
        [*play, *rules[:-2]],
    ]
    for command in commands:
        monkeypatch.delitem(sys.modules, "sunny")
        if command[0] != "play":
            _, err = output_of(capsys, command, 2)
            assert "'sunny:Daylight', which is not imported" in err and "give --import sunny" in err
        output_of(capsys, [*command, "--import", "sunny.py", "--import=paying.py"], 0)
    assert checkpoints.load(Path("run"), CPU).counters["iteration"] == 2
    _, err = output_of(capsys, ["eval", "run", "--system", FLAGS], 2)
    assert "--system adds a system to a preset, but run is a run" in err and "give --import" in err


def test_evaluation_of_a_preset_has_its_systems(capsys, monkeypatch):
    options = ["--realms", 1, "--max-ticks", 30, "--device", "cpu", "--no-full", "--seed", 1]
    seen = []
    observe = Flags.observe
    monkeypatch.setattr(Flags, "observe", lambda self, world: seen.append(self) or observe(self, world))
    output_of(capsys, ["eval", "chaos", *options], 0)
    assert not seen
    output_of(capsys, ["eval", "chaos", *options, "--system", FLAGS, "--flags.flags", 8], 0)
    assert set(seen) == {Flags(flags=8)}


def test_the_command_runs_in_a_process_of_its_own(tmp_path):
    """As ``torchrun`` starts it: modules are found by PYTHONPATH, or in the file."""
    command = [sys.executable, "-m", "nmmo_gpu", "play", "chaos", *WORLD, "--device", "cpu", "--ticks", "2",
               "--out", "out", "--system", f"{DAYLIGHT}:Daylight", "--reward", PAID]  # fmt: skip
    path = f"{ROOT}:{ROOT / 'tests'}"
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, cwd=tmp_path, env={"PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "out").glob("*.replay"))


def test_printed_commands_have_the_options(broken_rule, capsys, tmp_path, monkeypatch):
    """The command to play or train again has all of them; one that resumes imports what the run needs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my rules.py").write_text(DAYLIGHT.read_text())
    rules = ["--system=my rules.py:Daylight", "--daylight.period=7", "--import", "json", "--reward", PAID]

    def command_in(err):
        return shlex.split(err.partition(": nmmo-gpu ")[2])

    _, err = output_of(capsys, ["play", "chaos", *WORLD, "--ticks", 20, "--out", "x", *rules, "--check"], 2)
    words = command_in(err)
    assert [word for word in words if word in rules] == rules
    _, again = output_of(capsys, words, 2)
    assert "tick 9: food is -4" in again

    train = ["train", "chaos", *TINY, "--iterations", 5, "--run", "run", "--checkpoint-minutes", 0, *rules]
    _, err = output_of(capsys, [*train, "--check"], 2)
    words = command_in(err)
    assert words == ["train", "--resume", "run", "--import", "json", "--import", "my rules.py", "--import",
                     "support.systems", "--check"]  # fmt: skip
    monkeypatch.delitem(sys.modules, "my rules")
    _, again = output_of(capsys, words, 2)
    assert "tick 9: food is -4" in again and command_in(again) == words
