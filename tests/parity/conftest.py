"""Fixtures for comparing backends with the rules in torch."""

from __future__ import annotations

import pytest
from support.parity import BACKENDS, EXTENDED, SETTINGS, Case, Twin, crossed, cut, poisoned_workspaces


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workspaces that may hold anything hold garbage."""
    poisoned_workspaces(monkeypatch)


@pytest.fixture(params=BACKENDS)
def twin(request: pytest.FixtureRequest) -> Twin:
    """Each backend."""
    return Twin(request.param)


@pytest.fixture(params=crossed(SETTINGS))
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Case:
    """Each backend in each setting of law and chaos. A test with other settings parametrises this fixture
    indirectly."""
    backend, setting = request.param
    twin = Twin(backend)
    if not twin.compiled:
        cut(monkeypatch, setting)
    return Case(twin, setting)


@pytest.fixture(params=crossed(SETTINGS, EXTENDED))
def any_case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Case:
    """As ``case``, with the settings of the full game as well."""
    backend, setting = request.param
    twin = Twin(backend)
    if not twin.compiled:
        cut(monkeypatch, setting)
    return Case(twin, setting)
