"""RBAC: what the roles and bindings in the store allow.

The answer is computed from an index of subjects, rebuilt when one of the four resources
has changed; the store's maps tell that by their identity, so a fork shares the index of
what it was forked from.

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from cove.server.request import User
from cove.server.store import State

__all__ = ["Rbac", "Review", "Rule", "describe"]

GROUP = "rbac.authorization.k8s.io"
CLUSTER_ROLES = f"clusterroles.{GROUP}"
ROLES = f"roles.{GROUP}"
CLUSTER_BINDINGS = f"clusterrolebindings.{GROUP}"
BINDINGS = f"rolebindings.{GROUP}"

Rule = dict[str, list[str]]


class Review(NamedTuple):
    """One question: may this be done?  ``path`` is set for what is not a resource."""

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


class _Binding(NamedTuple):
    kind: str  # of the binding
    name: str
    namespace: str  # "" for a ClusterRoleBinding
    role_kind: str
    role: str
    subject: str  # as reasons name it: User "alice"


class _Index(NamedTuple):
    bindings: dict[tuple[str, str], list[_Binding]]  # ("User", name) or ("Group", name)
    roles: dict[tuple[str, str], list[Rule]]  # (namespace, name), namespace "" for ClusterRoles


class Rbac:
    """The authorizer; keeps the index of the last state it was asked about."""

    def __init__(self) -> None:
        self._buckets: tuple[Any, ...] = ()
        self._index = _Index({}, {})

    def _at(self, state: State) -> _Index:
        buckets = tuple(state.bucket(r) for r in (CLUSTER_ROLES, ROLES, CLUSTER_BINDINGS, BINDINGS))
        known = self._buckets
        if len(known) != 4 or any(a is not b for a, b in zip(buckets, known, strict=True)):
            self._index = _build(state)
            self._buckets = buckets
        return self._index

    def allowed(self, state: State, user: User, review: Review) -> tuple[bool, str]:
        """Whether some rule covers the question, and the reason in upstream's words."""
        index = self._at(state)
        missing = []
        for binding in _of(index, user):
            if binding.namespace and binding.namespace != review.namespace:
                continue
            rules = _rules(index, binding)
            if rules is None:
                missing.append(_missing(binding))
                continue
            for rule in rules:
                if covers(rule, review):
                    return True, _because(binding)
        if missing:
            told = list(dict.fromkeys(missing))
            return False, "RBAC: " + (told[0] if len(told) == 1 else "[" + ", ".join(told) + "]")
        return False, ""

    def rules(self, state: State, user: User, namespace: str) -> tuple[list[Rule], list[str]]:
        """Every rule that holds for the user in a namespace, and what could not be resolved."""
        index = self._at(state)
        found: list[Rule] = []
        errors = []
        for binding in _of(index, user):
            if binding.namespace and binding.namespace != namespace:
                continue
            rules = _rules(index, binding)
            if rules is None:
                errors.append(_missing(binding))
            else:
                found.extend(rules)
        return found, errors

    def role(self, state: State, namespace: str, name: str) -> list[Rule] | None:
        """The rules of a Role, or of a ClusterRole for namespace "", None if missing."""
        return self._at(state).roles.get((namespace, name))


def _of(index: _Index, user: User) -> Iterator[_Binding]:
    """The bindings of a user, cluster-wide ones first."""
    keys = [("User", user.name), *(("Group", g) for g in user.groups)]
    local = []
    for key in keys:
        for binding in index.bindings.get(key, ()):
            if binding.namespace:
                local.append(binding)
            else:
                yield binding
    yield from local


def _rules(index: _Index, binding: _Binding) -> list[Rule] | None:
    namespace = binding.namespace if binding.role_kind == "Role" else ""
    return index.roles.get((namespace, binding.role))


def _missing(binding: _Binding) -> str:
    return f'{binding.role_kind.lower()}.{GROUP} "{binding.role}" not found'


def _because(binding: _Binding) -> str:
    where = f"{binding.namespace}" if binding.namespace else ""
    shown = f"{binding.name}/{where}" if where else binding.name
    return (
        f'RBAC: allowed by {binding.kind} "{shown}" of {binding.role_kind} '
        f'"{binding.role}" to {binding.subject}'
    )


def _build(state: State) -> _Index:
    roles: dict[tuple[str, str], list[Rule]] = {}
    for resource in (CLUSTER_ROLES, ROLES):
        for stored in state.list(resource):
            roles[(stored.namespace, stored.name)] = orjson.loads(stored.data).get("rules") or []
    bindings: dict[tuple[str, str], list[_Binding]] = {}
    for resource, kind in ((CLUSTER_BINDINGS, "ClusterRoleBinding"), (BINDINGS, "RoleBinding")):
        for stored in state.list(resource):
            doc = orjson.loads(stored.data)
            ref = doc.get("roleRef", {})
            for subject in doc.get("subjects") or ():
                key, shown = _subject(subject, stored.namespace)
                bindings.setdefault(key, []).append(
                    _Binding(
                        kind,
                        stored.name,
                        stored.namespace,
                        ref.get("kind", ""),
                        ref.get("name", ""),
                        shown,
                    )
                )
    return _Index(bindings, roles)


def _subject(subject: dict[str, str], namespace: str) -> tuple[tuple[str, str], str]:
    kind, name = subject.get("kind", ""), subject.get("name", "")
    if kind == "ServiceAccount":
        where = subject.get("namespace") or namespace
        return (
            ("User", f"system:serviceaccount:{where}:{name}"),
            f'ServiceAccount "{name}/{where}"',
        )
    return (kind, name), f'{kind} "{name}"'


def covers(rule: Rule, review: Review) -> bool:
    """Whether one rule allows what is asked."""
    verbs = rule.get("verbs") or ()
    if review.verb not in verbs and "*" not in verbs:
        return False
    if review.path:
        return _path_matches(rule.get("nonResourceURLs") or (), review.path)
    groups = rule.get("apiGroups") or ()
    if review.group not in groups and "*" not in groups:
        return False
    names = rule.get("resourceNames") or ()
    if names and review.name not in names:
        return False
    return _resource_matches(rule.get("resources") or (), review.resource, review.subresource)


def _resource_matches(resources: Any, resource: str, subresource: str) -> bool:
    full = f"{resource}/{subresource}" if subresource else resource
    for pattern in resources:
        if pattern in ("*", full):
            return True
        if subresource and pattern == f"*/{subresource}":
            return True
    return False


def _path_matches(patterns: Any, path: str) -> bool:
    for pattern in patterns:
        if pattern in ("*", path):
            return True
        if pattern.endswith("*") and path.startswith(pattern[:-1]):
            return True
    return False


def describe(user: User, review: Review) -> str:
    """The refusal: who cannot do what where."""
    if review.path:
        return f'User "{user.name}" cannot {review.verb} path "{review.path}"'
    resource = review.resource
    if review.subresource:
        resource += f"/{review.subresource}"
    where = f'in the namespace "{review.namespace}"' if review.namespace else "at the cluster scope"
    return (
        f'User "{user.name}" cannot {review.verb} resource "{resource}" in API group '
        f'"{review.group}" {where}'
    )
