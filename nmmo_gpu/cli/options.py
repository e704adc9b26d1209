"""Parses the options of commands with tyro."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import tyro

from nmmo_gpu.cli.reward import reward_rule
from nmmo_gpu.cli.systems import parsed, with_systems
from nmmo_gpu.config import PRESETS
from nmmo_gpu.config.serialize import from_plain, parse_json, to_plain
from nmmo_gpu.content import STANDARD, Content
from nmmo_gpu.errors import ConfigError, NmmoError

if TYPE_CHECKING:
    from nmmo_gpu.train.config import TrainConfig

Options = TypeVar("Options")


def train_options(preset: str) -> TrainConfig:
    """Returns a preset's settings with the changes given on the command line, for scripts that train."""
    from nmmo_gpu.train.presets import train_preset

    default = train_preset(preset)
    try:
        return parse(type(default), sys.argv[1:], Path(sys.argv[0]).name, default)
    except NmmoError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")


def split_preset(arguments: list[str], command: str) -> tuple[str, str, list[str]]:
    """Returns (preset, scale, all other arguments) of a command. Raises NmmoError if it names no preset."""
    scale, arguments = "laptop", list(arguments)
    for place, argument in enumerate(arguments):
        if argument.startswith("--scale="):
            scale = arguments.pop(place).partition("=")[2]
            break
        if argument == "--scale" and place + 1 < len(arguments):
            scale = arguments.pop(place + 1)
            arguments.pop(place)
            break
    if arguments and arguments[0] in PRESETS:
        return arguments[0], scale, arguments[1:]
    if arguments and arguments[0] in ("-h", "--help"):
        return "chaos", scale, arguments
    found = f"not {arguments[0]!r}" if arguments else "which is missing"
    raise NmmoError(f"{command} needs a preset, {found}; choose one of {', '.join(PRESETS)}.")


def parse(kind: type[Options], arguments: list[str], program: str, default: Options | None = None) -> Options:
    """Parses options with tyro; the fields of nested configs need no prefix, and those of systems that
    ``--system`` adds have the system's name as one. ``--trinity``, ``--system`` and ``--import`` may be given
    more than once. First imports what ``--import`` names."""
    kind_with_systems = with_systems(kind, default, arguments)
    options = tyro.cli(kind_with_systems, args=_gathered(arguments), prog=program, registry=_registry())
    return cast(Options, parsed(options))


def _gathered(arguments: list[str]) -> list[str]:
    """Returns the arguments with all values of ``--trinity`` in one place, at the end. Values are the word
    that follows, and those after it that contain a colon."""
    names: list[str] = []
    others: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        option, _, value = word.partition("=")
        if option != "--trinity":
            others.append(word)
            continue
        names += [value] if value else rest[:1] or [""]
        rest = rest if value else rest[1:]
        while rest and ":" in rest[0] and not rest[0].startswith("-"):
            names.append(rest.pop(0))
    return [*others, "--trinity", *names] if names else others


def _registry() -> tyro.constructors.ConstructorRegistry:
    """Returns the parsers of options that are not numbers or strings: content tables are read from a file,
    and a reward can be a function."""
    registry = tyro.constructors.ConstructorRegistry()
    registry.primitive_rule(reward_rule)

    @registry.primitive_rule
    def content(kind: tyro.constructors.PrimitiveTypeInfo) -> Any:
        if kind.type is not Content:
            return None
        return tyro.constructors.PrimitiveConstructorSpec(
            nargs=1,
            metavar="JSON-FILE",
            instance_from_str=lambda words: _read_content(words[0]),
            is_instance=lambda value: isinstance(value, Content),
            str_from_instance=lambda value: ["(as the preset)"],
        )

    return registry


def _read_content(path: str) -> Content:
    """Reads content tables, as ``serialize.to_plain`` writes them; missing tables are those of ``full``."""
    try:
        text = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise ConfigError(f"content = {path!r} cannot be read ({error}); give a JSON file.") from error
    plain = parse_json(text, path)
    if not isinstance(plain, dict):
        raise ConfigError(f"content = {path!r} holds no tables; give an object with items, recipes, npcs ...")
    content: Content = from_plain(Content, {**to_plain(STANDARD), **plain}, path)
    return content
