"""Roles and their bindings.

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import selector
from cove.kube.kinds._gojson import internal
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._table import age

__all__ = ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"]

Errors = list[FieldError]
_GROUP = "rbac.authorization.k8s.io"


def _rule(errors: Errors, path: str, rule: Obj, *, namespaced: bool) -> None:
    urls = rule.get("nonResourceURLs")
    if not rule.get("verbs"):
        errors.append(fe.required(f"{path}.verbs", "verbs must contain at least one value"))
    if urls:
        if namespaced:
            errors.append(
                fe.invalid(
                    f"{path}.nonResourceURLs",
                    urls,
                    "namespaced rules cannot apply to non-resource URLs",
                )
            )
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            errors.append(
                fe.invalid(
                    f"{path}.nonResourceURLs",
                    urls,
                    "rules cannot apply to both regular resources and non-resource URLs",
                )
            )
        return
    if not rule.get("apiGroups"):
        errors.append(
            fe.required(f"{path}.apiGroups", "resource rules must supply at least one api group")
        )
    if not rule.get("resources"):
        errors.append(
            fe.required(f"{path}.resources", "resource rules must supply at least one resource")
        )


class _Named(Kind):
    allow_create_on_update = True

    def validate_name(self, name: str) -> list[str]:
        return names.is_path_segment_name(name)

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        return self.validate_create(obj)


class Role(_Named):
    """What may be done in a namespace."""

    namespaced = True

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        for i, rule in enumerate(obj.get("rules") or ()):
            _rule(errors, f"rules[{i}]", rule, namespaced=self.namespaced)
        return errors


class ClusterRole(Role):
    """What may be done anywhere, and beside resources."""

    namespaced = False

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors = super().validate_create(obj)
        aggregation = obj.get("aggregationRule")
        if aggregation is not None:
            path = "aggregationRule.clusterRoleSelectors"
            selectors = aggregation.get("clusterRoleSelectors")
            if not selectors:
                errors.append(
                    fe.required(
                        path,
                        "at least one clusterRoleSelector required if aggregationRule is non-nil",
                    )
                )
            for i, document in enumerate(selectors or ()):
                at = f"{path}[{i}]"
                selector(errors, at, document)
        return errors


def _subject(errors: Errors, path: str, subject: Obj, *, namespaced: bool) -> None:
    kind, name = subject.get("kind") or "", subject.get("name") or ""
    group, namespace = subject.get("apiGroup") or "", subject.get("namespace") or ""
    if not name:
        errors.append(fe.required(f"{path}.name"))
    if kind == "ServiceAccount":
        if name:
            errors += [
                fe.invalid(f"{path}.name", name, m) for m in names.is_dns1123_subdomain(name)
            ]
        if group:
            errors.append(fe.not_supported(f"{path}.apiGroup", group, ("",)))
        if not namespaced and not namespace:
            errors.append(fe.required(f"{path}.namespace"))
    elif kind in ("User", "Group"):
        if group != _GROUP:
            errors.append(fe.not_supported(f"{path}.apiGroup", group, (_GROUP,)))
    else:
        errors.append(fe.not_supported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group")))


class RoleBinding(_Named):
    """Who has a role in a namespace."""

    roles: tuple[str, ...] = ("Role", "ClusterRole")
    namespaced = True

    def default(self, obj: Obj) -> None:
        reference = obj.setdefault("roleRef", {})
        if not reference.get("apiGroup"):
            reference["apiGroup"] = _GROUP
        for subject in obj.get("subjects") or ():
            if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
                subject["apiGroup"] = _GROUP

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        reference = obj.get("roleRef") or {}
        group, kind = reference.get("apiGroup") or "", reference.get("kind") or ""
        if group != _GROUP:
            errors.append(fe.not_supported("roleRef.apiGroup", group, (_GROUP,)))
        if kind not in self.roles:
            errors.append(fe.not_supported("roleRef.kind", kind, self.roles))
        name = reference.get("name") or ""
        if not name:
            errors.append(fe.required("roleRef.name"))
        else:
            errors += [
                fe.invalid("roleRef.name", name, m) for m in names.is_path_segment_name(name)
            ]
        for i, subject in enumerate(obj.get("subjects") or ()):
            _subject(errors, f"subjects[{i}]", subject, namespaced=self.namespaced)
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors = self.validate_create(obj)
        if obj.get("roleRef") != old.get("roleRef"):
            errors.append(
                fe.invalid(
                    "roleRef", internal("rbac.RoleRef", obj.get("roleRef")), "cannot change roleRef"
                )
            )
        return errors

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        reference = obj.get("roleRef") or {}
        by_kind: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
        for subject in obj.get("subjects") or ():
            name = subject.get("name") or ""
            if subject.get("kind") == "ServiceAccount":
                name = f"{subject.get('namespace') or ''}/{name}"
            by_kind.setdefault(subject.get("kind") or "", []).append(name)
        return [
            obj["metadata"].get("name", ""),
            f"{reference.get('kind') or ''}/{reference.get('name') or ''}",
            age(obj, now),
            *(", ".join(by_kind[k]) for k in ("User", "Group", "ServiceAccount")),
        ]


class ClusterRoleBinding(RoleBinding):
    """Who has a role everywhere."""

    roles = ("ClusterRole",)
    namespaced = False
