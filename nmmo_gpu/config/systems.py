"""Systems: parts of the rules that users add from outside of the package, in plain torch.

A system is a frozen dataclass whose fields are its settings; its methods declare what it adds. It holds no
state itself: its tensors are part of the world."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import Tensor

from nmmo_gpu.config.bounds import check_fields
from nmmo_gpu.errors import ConfigError

if TYPE_CHECKING:
    from nmmo_gpu.config.world import WorldConfig
    from nmmo_gpu.world.state import World

Words = tuple[Tensor, Tensor, Tensor, Tensor]
Method = TypeVar("Method", bound=Callable[..., Any])

STREAMS = 8
"""Independent streams of random numbers per system."""
MAX_SYSTEMS = 15
"""Systems per world; each has streams of its own above those of the rules."""
FIRST_STREAM = 128
STOCK_HEADS = ("move", "style", "target", "work", "trade", "price", "token")
"""Names of the heads of the rules, each of which exists if what it needs is on."""


@dataclass(frozen=True)
class StateSpec:
    """A tensor of a system's state."""

    shape: str
    """Dimensions, separated by spaces: R (realms) first, then H, W (map), A (agents' slots), S (all slots,
    with those of NPCs) or numbers: "R", "R H W", "R A", "R S", "R A 4"."""
    dtype: torch.dtype
    """bool, or an integer dtype."""
    about: str
    """Description, with the unit."""
    low: int | None = None
    """Least value; by default that of the dtype. ``World.validate`` checks it."""
    high: int | None = None
    """Largest value, likewise."""
    fill: int = 0
    """Initial value."""
    at_birth: int | None = None
    """Value for a newborn entity, of a tensor of shape "R A ..." or "R S ..."; None to leave the value of the
    slot's previous entity."""


@dataclass(frozen=True)
class ObservationSpec:
    """A field that a system adds to each agent's observation."""

    about: str
    """Description, with the unit."""
    dtype: torch.dtype = torch.uint8
    """bool, uint8, int8 or int16."""
    shape: tuple[int, ...] = ()
    """Shape per agent."""
    low: int = 0
    """Least value. The range must contain 0, because empty slots observe zeros."""
    high: int = 1
    """Largest value; the default network divides by the larger of -low and high."""
    light: bool = False
    """Whether the viewer dims the map with this field: ``low`` is dark, ``high`` is full daylight."""


@dataclass(frozen=True)
class ActionSpec:
    """A head that a system adds to each agent's action."""

    choices: int
    """Number of choices, at least 2. Choice 0 has to mean "do nothing"."""
    about: str
    """Description of the choices."""


@dataclass(frozen=True)
class PhaseSpec:
    """Where a method of a system runs in the tick."""

    place: str
    """"before", "after" or "instead of"."""
    of: str
    """Name of the stock phase, see ``nmmo_gpu.world.phases.PHASES``."""
    method: str
    """Name of the method."""
    takes: tuple[str, ...] = ()
    """Heads whose actions the method takes."""
    optional: frozenset[str] = frozenset()
    """Those of them that may be missing, because the method has a default for them."""


def phase(*, before: str = "", after: str = "", instead_of: str = "") -> Callable[[Method], Method]:
    """Decorator that makes a method of a ``System`` a phase of the tick::

        @phase(after="upkeep")
        def burn(self, world): ...

    The method gets the world, which it changes in place, and the actions of the heads that its further
    parameters name: [R, A] integers (after the phase ``npcs``, ``move``, ``style`` and ``target`` are [R,
    S]). A method that returns a tensor, or a tuple of tensors, replaces the actions that it took.

    Args:
        before: name of a stock phase before which the method runs.
        after: name of a stock phase after which it runs.
        instead_of: name of a stock phase that it replaces.

    Exactly one is given. The names are those of ``nmmo_gpu.world.phases.PHASES``."""
    given = {"before": before, "after": after, "instead of": instead_of}
    places = [(place, of) for place, of in given.items() if of]
    if len(places) != 1:
        raise ConfigError('phase() takes one of before="...", after="..." and instead_of="..."; give one.')

    def mark(method: Method) -> Method:
        method.__phase__ = places[0]  # type: ignore[attr-defined]
        return method

    return mark


class System:
    """Base of systems. Subclasses are frozen dataclasses, whose fields are the settings::

        @dataclass(frozen=True)
        class Daylight(System):
            period: Annotated[int, Bounds(ge=2)] = 100

    The class attribute ``name`` identifies the system in names of state tensors, observation fields, options
    and curves; by default it is the name of the class in snake case. All methods may be overridden; none has
    to be.

    The methods that get a world run on its device in each tick. On a GPU they must not wait for the device
    (no ``.item()``, ``.nonzero()``, boolean indices, or ``if`` on a tensor), so that CUDA graphs can capture
    them; ``nmmo_gpu.systems.check_system`` tests this on any machine."""

    name: ClassVar[str] = ""
    counters: ClassVar[tuple[str, ...]] = ()
    """Names of events that the system counts with ``count``."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()

    def __post_init__(self) -> None:
        try:
            check_fields(self)
        except ConfigError as error:
            raise ConfigError(f"system {type(self).__name__}: {error}") from None

    def validate(self, config: WorldConfig) -> None:
        """Raises ConfigError if the settings do not fit the rules.

        Called for each new config; use ``nmmo_gpu.config.bounds.refuse`` for the message."""

    def state(self, config: WorldConfig) -> Mapping[str, StateSpec]:
        """The tensors that the system adds to the world, by name: ``world.systems[self.name][name]``."""
        return {}

    def observation(self, config: WorldConfig) -> Mapping[str, ObservationSpec]:
        """The fields that the system adds to the observation, by name; the field of the observation is called
        ``<system>.<name>``."""
        return {}

    def actions(self, config: WorldConfig) -> Mapping[str, ActionSpec]:
        """The heads that the system adds to the action, by name."""
        return {}

    def begin(self, world: World) -> None:
        """Initializes the state of a new world, beyond the ``fill`` of its tensors. May wait for the
        device."""

    def observe(self, world: World) -> Mapping[str, Tensor]:
        """Values of the fields of ``observation``, each [R, A, *shape], or a shape that broadcasts to it."""
        return {}

    def edit_observation(self, world: World, fields: dict[str, Tensor]) -> None:
        """Changes the observation of all agents in place, after all fields are written.

        Args:
            world: the world, after the tick.
            fields: ``name -> [R, A, *shape]``, views; see docs/observation.md. An entity whose row is made
                zero in ``entity_kind`` cannot be chosen as a target."""

    def masks(self, world: World) -> Mapping[str, Tensor]:
        """Choices that are possible, by head of ``actions``: [R, A, choices] bool, or a shape that broadcasts
        to it. Heads without a mask allow all choices; choice 0 is always allowed."""
        return {}

    def reward(self, world: World, before: Any) -> Tensor | None:
        """[R, A] float32, added to the reward of each agent that acted; None to add nothing.

        Args:
            world: the world, after the tick. A slot whose agent died still holds its last values.
            before: the same tensors before the tick, such as ``before.gold`` and
                ``before.systems["daylight"]["light"]``."""
        return None

    def scalars(self, world: World) -> Mapping[str, Tensor]:
        """Values for TensorBoard by name, [R] or [] each: their mean over all realms is reported."""
        return {}

    # For use in the methods above.

    def own(self, world: World) -> dict[str, Tensor]:
        """The system's state in a world, by name. Write into the tensors; do not replace them."""
        return world.systems[self.name]

    def count(self, world: World, counter: str, number: Tensor) -> None:
        """Adds to one of ``counters``.

        Args:
            number: [R, ...] bool or integers, summed over all dimensions except the first."""
        if counter not in self.counters:
            raise ConfigError(f"system {type(self).__name__}: {counter!r} is not in counters; add it there.")
        counts = self.own(world)[COUNTS]
        counts[:, self.counters.index(counter)] += number[..., None].flatten(1).sum(1, dtype=torch.int64)

    def draw(self, world: World, like: Tensor, stream: int = 0, where: Tensor | None = None) -> Words:
        """Four random 32-bit words for each element, which depend only on (seed, tick, realm, element).

        Args:
            like: [R, ...], gives the shape. An element's words depend on its index in its realm.
            stream: 0 to 7; different streams are independent.
            where: bool, of the shape of ``like``: elements that need words; others get undefined values,
                which saves time on a CPU.

        Returns:
            Four int64 tensors of the shape of ``like``, 0 to 2^32 - 1; ``nmmo_gpu.systems.below`` makes
            integers of them."""
        if not 0 <= stream < STREAMS:
            raise ConfigError(f"stream = {stream} of {self.name} is out of range; choose 0 to {STREAMS - 1}.")
        position = [system.name for system in world.config.systems].index(self.name)
        return world.draw_like(like, FIRST_STREAM + STREAMS * position + stream, where)


COUNTS = "counts"
"""Name of the tensor that holds a system's counters."""


def state_specs(system: System, config: WorldConfig) -> dict[str, StateSpec]:
    """The tensors of a system's state, its counters included."""
    specs = dict(system.state(config))
    if system.counters:
        about = "events so far: " + ", ".join(system.counters)
        specs[COUNTS] = StateSpec(f"R {len(system.counters)}", torch.int64, about, low=0)
    return specs


def phase_specs(system: System) -> list[PhaseSpec]:
    """The phases of a system, in the order of their definition."""
    found: dict[str, PhaseSpec] = {}
    for cls in reversed(type(system).__mro__):
        for name, method in vars(cls).items():
            place = getattr(method, "__phase__", None)
            if place is None:
                found.pop(name, None)  # overridden without the decorator
                continue
            parameters = list(inspect.signature(method).parameters.values())[2:]
            takes = tuple(p.name for p in parameters)
            optional = frozenset(p.name for p in parameters if p.default is not p.empty)
            found[name] = PhaseSpec(place[0], place[1], name, takes, optional)
    return list(found.values())


def dtype_range(dtype: torch.dtype) -> tuple[int, int]:
    """The least and the largest value that a bool or integer dtype holds."""
    return (0, 1) if dtype == torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)


def state_range(spec: StateSpec) -> tuple[int, int]:
    """The least and the largest value of a state tensor."""
    low, high = dtype_range(spec.dtype)
    return low if spec.low is None else spec.low, high if spec.high is None else spec.high
