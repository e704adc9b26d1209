"""The option ``--reward``: a name, or a function of the user."""

from __future__ import annotations

import typing
from typing import Any

import tyro

from nmmo_gpu.config.class_names import class_name, load
from nmmo_gpu.config.env import RewardFunction
from nmmo_gpu.errors import ConfigError


def reward_rule(kind: tyro.constructors.PrimitiveTypeInfo) -> Any:
    """A rule for tyro that parses ``EnvConfig.reward``; None for other types."""
    options = typing.get_args(kind.type)
    if RewardFunction not in options:
        return None
    names = tuple(name for option in options for name in typing.get_args(option))
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{{{','.join(names)}}}|MODULE:FUNCTION|FILE.PY:FUNCTION",
        instance_from_str=lambda words: words[0] if words[0] in names else _function(words[0], names),
        is_instance=lambda value: value in names or isinstance(value, RewardFunction),
        str_from_instance=lambda value: [value if value in names else class_name(value.function)],
    )


def _function(word: str, names: tuple[str, ...]) -> RewardFunction:
    if ":" not in word:
        raise ConfigError(
            f"reward = {word!r} is unknown; choose {', '.join(names)}, or give module:function, or "
            "file.py:function."
        )
    function = load(word, "reward", "function", beside=False)
    if not callable(function):
        raise ConfigError(f"reward = {word!r} is not a function; give one that returns [R, A] float32.")
    return RewardFunction(function)
