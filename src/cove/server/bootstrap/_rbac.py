"""The default roles and bindings.

``roles.json`` holds per ClusterRole its rules as ``[verbs, groups, resources, names]``,
texts of words (groups separated by commas: the core group is the empty one), or
``[verbs, null, urls]``.

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

__all__ = ["cluster_bindings", "cluster_roles", "local_bindings", "local_roles"]

GROUP = "rbac.authorization.k8s.io"
AGGREGATE = f"{GROUP}/aggregate-to-"
CONTROLLER = "system:controller:"

# ClusterRole → (what it is made of, what it is part of)
_AGGREGATED = {
    "admin": ("admin", ""),
    "edit": ("edit", "admin"),
    "view": ("view", "edit"),
}
_PARTS = {
    "admin": ("edit", "system:aggregate-to-admin"),
    "edit": ("system:aggregate-to-edit", "view"),
    "view": ("system:aggregate-to-view",),
}

_MASTERS = ("Group", "system:masters")
_AUTHENTICATED = ("Group", "system:authenticated")
_UNAUTHENTICATED = ("Group", "system:unauthenticated")

_SUBJECTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "cluster-admin": (_MASTERS,),
    "system:basic-user": (_AUTHENTICATED,),
    "system:discovery": (_AUTHENTICATED,),
    "system:kube-controller-manager": (("User", "system:kube-controller-manager"),),
    "system:kube-dns": (("ServiceAccount", "kube-dns", "kube-system"),),
    "system:kube-scheduler": (("User", "system:kube-scheduler"),),
    "system:monitoring": (("Group", "system:monitoring"),),
    "system:node": (),
    "system:node-proxier": (("User", "system:kube-proxy"),),
    "system:public-info-viewer": (_AUTHENTICATED, _UNAUTHENTICATED),
    "system:service-account-issuer-discovery": (("Group", "system:serviceaccounts"),),
    "system:volume-scheduler": (("User", "system:kube-scheduler"),),
}

_LEASES = [
    {
        "verbs": ["create", "get", "list", "update", "watch"],
        "apiGroups": ["coordination.k8s.io"],
        "resources": [resource],
    }
    for resource in ("leases", "leasecandidates")
]
_EVENTS = {
    "verbs": ["create", "patch", "update"],
    "apiGroups": ["", "events.k8s.io"],
    "resources": ["events"],
}


def _core(verbs: str, resource: str, *names: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"verbs": verbs.split(), "apiGroups": [""], "resources": [resource]}
    if names:
        rule["resourceNames"] = list(names)
    return rule


_LOCAL_ROLES: tuple[tuple[str, str, list[dict[str, Any]]], ...] = (
    (
        "kube-public",
        "system:controller:bootstrap-signer",
        [
            _core("get list watch", "configmaps"),
            _core("update", "configmaps", "cluster-info"),
            _EVENTS,
        ],
    ),
    (
        "kube-system",
        "extension-apiserver-authentication-reader",
        [_core("get list watch", "configmaps", "extension-apiserver-authentication")],
    ),
    ("kube-system", "system::leader-locking-kube-controller-manager", _LEASES),
    ("kube-system", "system::leader-locking-kube-scheduler", _LEASES),
    (
        "kube-system",
        "system:controller:bootstrap-signer",
        [_core("get list watch", "secrets")],
    ),
    (
        "kube-system",
        "system:controller:cloud-provider",
        [_core("create get list watch", "configmaps")],
    ),
    (
        "kube-system",
        "system:controller:token-cleaner",
        [_core("delete get list watch", "secrets"), _EVENTS],
    ),
)


def _account(name: str) -> tuple[str, ...]:
    return ("ServiceAccount", name, "kube-system")


_LOCAL_BINDINGS: tuple[tuple[str, str, str, tuple[tuple[str, ...], ...]], ...] = (
    (
        "kube-public",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        (_account("bootstrap-signer"),),
    ),
    (
        "kube-system",
        "system::extension-apiserver-authentication-reader",
        "extension-apiserver-authentication-reader",
        (("User", "system:kube-controller-manager"), ("User", "system:kube-scheduler")),
    ),
    (
        "kube-system",
        "system::leader-locking-kube-controller-manager",
        "system::leader-locking-kube-controller-manager",
        (("User", "system:kube-controller-manager"), _account("kube-controller-manager")),
    ),
    (
        "kube-system",
        "system::leader-locking-kube-scheduler",
        "system::leader-locking-kube-scheduler",
        (("User", "system:kube-scheduler"), _account("kube-scheduler")),
    ),
    *(
        ("kube-system", f"{CONTROLLER}{name}", f"{CONTROLLER}{name}", (_account(name),))
        for name in ("bootstrap-signer", "cloud-provider", "token-cleaner")
    ),
)


def _meta(name: str, **labels: str) -> dict[str, Any]:
    return {
        "name": name,
        "labels": {
            "kubernetes.io/bootstrapping": "rbac-defaults",
            **{f"{AGGREGATE}{k}": v for k, v in labels.items()},
        },
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    }


def _rule(row: list[Any]) -> dict[str, Any]:
    verbs = row[0].split()
    if row[1] is None:
        return {"verbs": verbs, "nonResourceURLs": row[2].split()}
    rule: dict[str, Any] = {
        "verbs": verbs,
        "apiGroups": row[1].split(","),
        "resources": row[2].split(),
    }
    if len(row) > 3:
        rule["resourceNames"] = row[3].split()
    return rule


def _table() -> dict[str, list[list[Any]]]:
    table: dict[str, list[list[Any]]] = orjson.loads(
        (Path(__file__).parent / "roles.json").read_bytes()
    )
    return table


def cluster_roles() -> Iterator[dict[str, Any]]:
    """Every default ClusterRole; the aggregated ones already with their rules."""
    table = _table()

    def rules(name: str) -> list[dict[str, Any]]:
        if name in _PARTS:
            found: list[dict[str, Any]] = []
            for part in _PARTS[name]:
                found += [r for r in rules(part) if r not in found]
            return found
        return [_rule(row) for row in table[name]]

    for name in sorted({*table, *_AGGREGATED}):
        doc: dict[str, Any] = {"metadata": _meta(name), "rules": rules(name)}
        if name in _AGGREGATED:
            own, part = _AGGREGATED[name]
            doc["aggregationRule"] = {
                "clusterRoleSelectors": [{"matchLabels": {f"{AGGREGATE}{own}": "true"}}]
            }
            if part:
                doc["metadata"] = _meta(name, **{part: "true"})
        elif name.startswith("system:aggregate-to-"):
            doc["metadata"] = _meta(name, **{name.removeprefix("system:aggregate-to-"): "true"})
        yield doc


def _subject(subject: tuple[str, ...]) -> dict[str, str]:
    if subject[0] == "ServiceAccount":
        return {"kind": subject[0], "name": subject[1], "namespace": subject[2]}
    return {"kind": subject[0], "apiGroup": GROUP, "name": subject[1]}


def _binding(
    name: str, kind: str, role: str, subjects: tuple[tuple[str, ...], ...]
) -> dict[str, Any]:
    doc: dict[str, Any] = {
        "metadata": _meta(name),
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role},
    }
    if subjects:
        doc["subjects"] = [_subject(s) for s in subjects]
    return doc


def cluster_bindings() -> Iterator[dict[str, Any]]:
    """Every default ClusterRoleBinding: one per controller, and a few for users and groups."""
    for name in sorted(_table()):
        if name.startswith(CONTROLLER):
            account = ("ServiceAccount", name.removeprefix(CONTROLLER), "kube-system")
            yield _binding(name, "ClusterRole", name, (account,))
    for name, subjects in _SUBJECTS.items():
        yield _binding(name, "ClusterRole", name, subjects)


def local_roles() -> Iterator[dict[str, Any]]:
    """The default Roles, in the system's namespaces."""
    for namespace, name, rules in _LOCAL_ROLES:
        doc = {"metadata": {**_meta(name), "namespace": namespace}, "rules": rules}
        yield doc


def local_bindings() -> Iterator[dict[str, Any]]:
    """The default RoleBindings."""
    for namespace, name, role, subjects in _LOCAL_BINDINGS:
        doc = _binding(name, "Role", role, subjects)
        doc["metadata"]["namespace"] = namespace
        yield doc
