"""Policies and their bindings as they are in the store, compiled.

A policy's expressions are those of ``cove.kube.cel``; nothing of it is loaded before a
policy exists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import orjson

from cove.server.admission.policies._match import MatchResources
from cove.server.store import State

__all__ = ["Binding", "Policies", "Policy"]


class Policy:
    """What both kinds of policies have."""

    def __init__(self, doc: Mapping[str, Any]) -> None:
        from cove.kube.cel._policy import Expression

        spec = doc["spec"]
        self.name: str = doc["metadata"]["name"]
        self.spec: Mapping[str, Any] = spec
        self.fails: bool = spec.get("failurePolicy") != "Ignore"
        self.param_kind: Mapping[str, Any] | None = spec.get("paramKind")
        self.constraints = MatchResources(spec.get("matchConstraints") or {})
        self.conditions = [Expression(c["expression"]) for c in spec.get("matchConditions") or ()]
        self.variables = {
            v["name"]: Expression(v["expression"]) for v in spec.get("variables") or ()
        }
        self.bindings: list[Binding] = []


class Binding:
    """Where a policy applies."""

    def __init__(self, doc: Mapping[str, Any]) -> None:
        spec = doc["spec"]
        self.name: str = doc["metadata"]["name"]
        self.policy: str = spec.get("policyName") or ""
        self.param_ref: Mapping[str, Any] | None = spec.get("paramRef")
        self.actions: tuple[str, ...] = tuple(spec.get("validationActions") or ())
        self.resources = MatchResources(spec.get("matchResources") or {})


P = TypeVar("P", bound=Policy)


class Policies(Generic[P]):
    """The bound policies of one kind, by name; recompiled when the store's maps are others."""

    def __init__(
        self, make: Callable[[Mapping[str, Any]], P], policies: str, bindings: str
    ) -> None:
        self._make = make
        self._keys = (policies, bindings)
        self._buckets: tuple[Any, Any] = (None, None)
        self._found: list[P] = []

    def at(self, state: State) -> list[P]:
        """The policies that have bindings."""
        policies, bindings = state.root.get(self._keys[0]), state.root.get(self._keys[1])
        if policies is None or bindings is None:
            return []
        known = self._buckets
        if known[0] is policies and known[1] is bindings:
            return self._found
        made: dict[str, P] = {}
        bound = [Binding(orjson.loads(s.data)) for s in state.list(self._keys[1])]
        wanted = {b.policy for b in bound}
        for stored in state.list(self._keys[0]):
            if stored.name in wanted:
                made[stored.name] = self._make(orjson.loads(stored.data))
        for binding in bound:
            if binding.policy in made:
                made[binding.policy].bindings.append(binding)
        self._found = list(made.values())
        self._buckets = (policies, bindings)
        return self._found
