"""The errors that nmmo-gpu raises on purpose: each names the field, the value and the remedy."""

import contextlib
import sys
import warnings


class NmmoError(Exception):
    """Base of every error raised on purpose; the command line prints it without a traceback."""


class ConfigError(NmmoError, ValueError):
    """A setting, or a combination of settings, that cannot work."""


class NotImportedError(ConfigError):
    """A file names a class or function that is not imported; see ``--import`` of the command line."""


class MapError(NmmoError, ValueError):
    """A map file or a map that cannot be used."""


class ActionError(NmmoError, ValueError):
    """Actions of the wrong shape, dtype or device, or out of range."""


class CheckpointError(NmmoError, RuntimeError):
    """A checkpoint that is truncated, foreign, or does not fit what it is loaded into."""


class UsageError(NmmoError, RuntimeError):
    """An API called in an order that cannot work."""


class WorldError(NmmoError, ValueError):
    """The state of a world breaks an invariant: it was written so, or read from a damaged file, or a rule is
    wrong.

    ``realm``, ``slot`` and ``tick`` say where and when, as indices into the world's tensors (None if it does
    not apply); ``field``, ``value`` and ``allowed`` say what."""

    def __init__(
        self, message: str, field: str = "", value: object = None, allowed: str = "",
        realm: int | None = None, slot: int | None = None, tick: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.field, self.value, self.allowed = field, value, allowed
        self.realm, self.slot, self.tick = realm, slot, tick


class ReplayError(NmmoError, RuntimeError):
    """A replay file that is foreign or damaged, or cannot be written."""


class NonFiniteError(NmmoError, ArithmeticError):
    """Training has made weights NaN or infinite."""


def warn(message: str) -> None:
    """Warns of a failure that ends neither playing nor training, even where warnings are made errors."""
    try:
        warnings.warn(message, RuntimeWarning, stacklevel=3)
    except RuntimeWarning as warning:
        with contextlib.suppress(OSError, ValueError):  # standard error may be closed
            print(f"nmmo-gpu: {warning}", file=sys.stderr)
