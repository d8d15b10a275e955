"""Roles, ClusterRoles and their bindings, as documents; pure.

An operator that follows all namespaces gets one ClusterRole, and a Role for what is in its own
namespace.  One that follows some gets a Role in each, and a ClusterRole only for what is in no
namespace.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from cove.operator.rbac.derive import permissions
from cove.operator.rbac.permissions import CLUSTER, OWN, WATCHED, Permission, policy_rules

if TYPE_CHECKING:
    from cove.operator.operator import Operator
    from cove.operator.settings import Settings

__all__ = ["roles", "service_account"]

Doc = dict[str, Any]
GROUP = "rbac.authorization.k8s.io"


def service_account(operator: Operator, namespace: str, *, name: str | None = None) -> Doc:
    """The account that its pods run as; ``name`` None is the operator's."""
    chosen = name or operator.name
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": chosen, "namespace": namespace, "labels": labels(operator)},
    }


def labels(operator: Operator) -> Doc:
    """By which everything of an operator is found."""
    return {"app.kubernetes.io/name": operator.name}


def placed(
    found: Iterable[Permission], namespace: str, watched: Sequence[str]
) -> dict[str, list[Permission]]:
    """By the namespace they are needed in, "*" everywhere; ``watched`` empty follows all."""
    places: dict[str, list[Permission]] = {}
    for one in found:
        if one.place == WATCHED:
            targets: Sequence[str] = watched or (CLUSTER,)
        else:
            targets = (namespace,) if one.place == OWN else (one.place,)
        for place in targets:
            places.setdefault(place, []).append(one)
    everywhere = [p._replace(place=CLUSTER) for p in places.get(CLUSTER, ())]
    return {
        place: kept
        for place, listed in sorted(places.items())
        if (kept := [p for p in listed if place == CLUSTER or not _given(everywhere, p, place)])
    }


def _given(everywhere: list[Permission], one: Permission, place: str) -> bool:
    return any(wide.covers(one._replace(place=place)) for wide in everywhere)


def followed(settings: Settings, namespace: str) -> tuple[str, ...]:
    """The namespaces that an operator in ``namespace`` follows; none for all."""
    return settings.namespaces or ((namespace,) if settings.namespaced else ())


def roles(
    operator: Operator,
    namespace: str,
    *,
    settings: Settings | None = None,
    name: str | None = None,
) -> list[Doc]:
    """Its roles and what binds them to the account ``name`` (None: the operator's) in ``namespace``.

    ``settings`` None are the operator's own.  The same operator gives the same documents.
    """
    chosen, account = settings or operator.settings, name or operator.name
    places = placed(permissions(operator, chosen), namespace, followed(chosen, namespace))
    out: list[Doc] = []
    for place, found in places.items():
        prefix = "Cluster" if place == CLUSTER else ""
        metadata: Doc = {"name": account, "labels": labels(operator)}
        if place != CLUSTER:
            metadata["namespace"] = place
        subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
        common = {"apiVersion": f"{GROUP}/v1", "metadata": metadata}
        ref = {"apiGroup": GROUP, "kind": f"{prefix}Role", "name": account}
        out.append({**common, "kind": f"{prefix}Role", "rules": policy_rules(found)})
        out.append(
            {**common, "kind": f"{prefix}RoleBinding", "roleRef": ref, "subjects": [subject]}
        )
    return [_ordered(doc) for doc in out]


def _ordered(doc: Doc) -> Doc:
    first = {key: doc[key] for key in ("apiVersion", "kind", "metadata")}
    return {**first, **{key: value for key, value in doc.items() if key not in first}}
