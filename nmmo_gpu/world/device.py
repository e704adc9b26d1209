"""Device names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from nmmo_gpu.errors import ConfigError

_meta_device_allowed = False


@contextlib.contextmanager
def meta_device_allowed() -> Iterator[None]:
    """In this context "meta" is a valid device: its tensors have shapes and no data, so no world can be
    run."""
    global _meta_device_allowed
    _meta_device_allowed, before = True, _meta_device_allowed
    try:
        yield
    finally:
        _meta_device_allowed = before


def resolve_device(name: str) -> torch.device:
    """The device for "auto", "cpu", "cuda", "cuda:1" ...; ConfigError if it is unknown or not available."""
    if not isinstance(name, str):
        raise ConfigError(f'device = {name!r} is not a name; choose "auto", "cpu", "cuda" or "cuda:<index>".')
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(
            f'device = {name!r} is not a device; choose "auto", "cpu", "cuda" or "cuda:<index>".'
        ) from None
    if device.type == "cpu" or (device.type == "meta" and _meta_device_allowed):
        return device
    if device.type != "cuda":
        raise ConfigError(f'device = {name!r} is not supported; choose "auto", "cpu" or "cuda".')
    if not torch.cuda.is_available():
        raise ConfigError(
            f"device = {name!r}, but torch {torch.__version__} sees no CUDA device; choose "
            'device = "cpu", or install a CUDA build of torch and a driver.'
        )
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise ConfigError(
            f"device = {name!r}, but there are only {torch.cuda.device_count()} CUDA devices; "
            f"choose an index below that."
        )
    return device
