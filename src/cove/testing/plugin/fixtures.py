"""Fixtures: what tests ask for by name.

Light: this is imported by every test run there is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from cove.testing.plugin.names import MARK

if TYPE_CHECKING:
    from cove.testing.controls import Clock, Faults
    from cove.testing.declarations import Environment
    from cove.testing.kubernetes import Kubernetes
    from cove.testing.timeline import Timeline
    from cove.testing.world import World

__all__ = [
    "clock",
    "cove_environment",
    "faults",
    "fixtures_of",
    "k8s",
    "kubectl",
    "timeline",
]


def fixtures_of(env: Environment) -> dict[str, Any]:
    """The fixtures of an environment, by name: its attributes, and which one is meant."""
    made = {MARK: _marked(env, _environment(env), MARK)}
    for name in env.declarations:
        made[name] = _marked(env, _attribute(name), name)
    return made


def _marked(env: Environment, function: Callable[..., Any], name: str) -> Any:
    fixture = pytest.fixture(name=name)(function)
    fixture.__dict__.setdefault("__cove_environment__", env)
    return fixture


def _environment(env: Environment) -> Callable[..., Any]:
    def cove_environment(request: pytest.FixtureRequest) -> Any:
        return _world(request, env)

    cove_environment.__doc__ = f"The environment {env.type.__name__}, as this test has it."
    return cove_environment


def _attribute(name: str) -> Callable[..., Any]:
    def attribute(request: pytest.FixtureRequest, cove_environment: World) -> Any:
        value = cove_environment.attributes[name]
        instance = getattr(request, "instance", None)
        if instance is not None and _is_unittest(request):
            # Methods of unittest classes take no arguments.
            setattr(instance, name, value)
        return value

    attribute.__doc__ = f"``{name}`` of the environment."
    return attribute


def _is_unittest(request: pytest.FixtureRequest) -> bool:
    import unittest

    return inspect.isclass(request.cls) and issubclass(request.cls, unittest.TestCase)


def _world(request: pytest.FixtureRequest, env: Environment) -> World:
    from cove.testing.place import NotHereError
    from cove.testing.plugin import run_of

    try:
        return run_of(request.config).enter(request, env)
    except NotHereError as e:
        pytest.skip(str(e))


@pytest.fixture
def cove_environment(request: pytest.FixtureRequest) -> Any:
    """The environment of a test that declares none: one empty cluster, ``k8s``."""
    from cove.testing.plugin.default import DEFAULT

    return _world(request, DEFAULT)


@pytest.fixture
def k8s(request: pytest.FixtureRequest, cove_environment: World) -> Kubernetes:
    """A cluster of this test's own; see :class:`cove.testing.Kubernetes`."""
    found: Kubernetes = _attribute(cove_environment.first.name)(request, cove_environment)
    return found


@pytest.fixture
def faults(cove_environment: World) -> Faults:
    """What is to go wrong; see :class:`cove.testing.Faults`.  Skips where the engine cannot."""
    from cove.testing.controls import Faults, NotHereError

    try:
        return Faults(cove_environment.first)
    except NotHereError as e:
        pytest.skip(str(e))


@pytest.fixture
def clock(cove_environment: World) -> Clock:
    """The cluster's clock; see :class:`cove.testing.Clock`.  Skips where the engine has none."""
    from cove.testing.controls import Clock, NotHereError

    try:
        return Clock(cove_environment.first)
    except NotHereError as e:
        pytest.skip(str(e))


@pytest.fixture
def kubectl(k8s: Kubernetes) -> Callable[..., Any]:
    """The real kubectl, against the test's cluster: ``kubectl("get", "pods").out``."""
    return k8s.kubectl


@pytest.fixture
def timeline(cove_environment: World) -> Timeline | None:
    """What has happened in this test so far."""
    return cove_environment.tape.now
