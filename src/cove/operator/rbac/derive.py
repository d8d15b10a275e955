"""What an operator needs, derived from what it has declared; pure.

It is told from the declarations alone: what a handler does beside them (``ctx.list`` of a kind
that is not followed, the plain client) is for ``rbac = […]`` to say, and a test with an
:class:`~cove.operator.rbac.Audit` finds what was forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cove.operator.entities import Entity, info
from cove.operator.rbac.permissions import CLUSTER, OWN, WATCHED, Permission, of_rule
from cove.operator.rbac.rules import Rbac, RbacRule, of_kind

if TYPE_CHECKING:
    from cove.operator.operator import Operator
    from cove.operator.runtime.registry import ControllerSpec
    from cove.operator.settings import Settings

__all__ = ["permissions"]

_READ = "get list watch"
_WRITE = "create update patch delete"
# Events of objects that are in no namespace are in this one.
_DEFAULT = "default"


def permissions(operator: Operator, settings: Settings | None = None) -> list[Permission]:
    """What it needs, sorted; ``settings`` None are its own."""
    chosen = settings or operator.settings
    said = [*operator.rules, *(rule for spec in operator.controllers for rule in spec.rbac)]
    only = {cls for rule in said if isinstance(rule, Rbac) and rule.only for cls in rule.kinds}
    found: set[Permission] = set()
    for rule in said:
        found.update(rule.permissions())
    for spec in operator.controllers:
        found.update(_controller(spec, only))
    found.update(_events(operator))
    found.update(_leases(operator, chosen))
    found.update(_webhooks(operator))
    return sorted(found)


def _controller(spec: ControllerSpec, only: set[type[Entity]]) -> Iterator[Permission]:
    if spec.cls not in only:
        yield from of_kind(spec.cls, _READ)
        if spec.finalizers:
            yield from of_kind(spec.cls, "patch")
        if info(spec.cls).has_status:
            yield from of_kind(spec.cls, "patch", sub="status")
    for child in spec.owns:
        if child not in only:
            yield from of_kind(child, _READ, _WRITE)
    if spec.owns:
        # Who blocks the deletion of an owner has to be allowed to touch its finalizers, where
        # OwnerReferencesPermissionEnforcement is on.
        yield from of_kind(spec.cls, "update", sub="finalizers")
    for watch in spec.watches:
        if watch.cls not in only:
            yield from of_kind(watch.cls, _READ)


def _events(operator: Operator) -> Iterator[Permission]:
    """Whoever fails tells it in an event."""
    for spec in operator.controllers:
        place = WATCHED if info(spec.cls).namespaced else _DEFAULT
        for verb in ("create", "patch"):
            yield Permission(place, "", "events", verb)


def _leases(operator: Operator, settings: Settings) -> Iterator[Permission]:
    leader = settings.leadership
    if leader is None and settings.shards <= 1:
        return
    place = (leader.namespace if leader is not None else None) or OWN

    def of(verbs: str, name: str = "") -> Iterator[Permission]:
        for verb in verbs.split():
            yield Permission(place, "coordination.k8s.io", "leases", verb, name)

    # Creating cannot be limited to a name: there is none yet when it is asked.
    yield from of("create")
    if settings.shards > 1:
        # A lease for each replica: which are there is seen in the list.
        yield from of("get list watch update delete")
        return
    yield from of("get list watch update", (leader and leader.name) or operator.name)
    # Who leads is told in events about the lease.
    for verb in ("create", "patch"):
        yield Permission(place, "", "events", verb)


def _webhooks(operator: Operator) -> Iterator[Permission]:
    if not (operator.validators or operator.mutators or operator.converters):
        return
    from cove.operator.webhooks import rights

    needed = rights(operator)
    for rule in needed.cluster:
        yield from of_rule(rule, CLUSTER)
    for rule in needed.namespace:
        yield from of_rule(rule, OWN)


# For who reads this: what may stand in ``rbac = […]``.
Declared = Rbac | RbacRule
