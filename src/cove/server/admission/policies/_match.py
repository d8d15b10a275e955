"""Whether a request is one that a policy or a binding is about.

Source: ``k8s.io/apiserver/pkg/admission/plugin/policy/matching``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from cove.kube import catalogue, labels
from cove.kube import status as st
from cove.server.admission._chain import Attributes
from cove.server.endpoint import Endpoint

__all__ = ["MatchResources", "exempt", "namespace_object"]

GROUP = "admissionregistration.k8s.io"
_EXEMPT = frozenset(
    (
        "validatingwebhookconfigurations",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
    )
)


def exempt(endpoint: Endpoint) -> bool:
    """Whether policies never apply to a resource: nobody shall lock themselves out."""
    return endpoint.group == GROUP and endpoint.plural in _EXEMPT


class MatchResources:
    """A MatchResources document, ready to be asked."""

    def __init__(self, doc: Mapping[str, Any]) -> None:
        self._rules: list[dict[str, Any]] = doc.get("resourceRules") or []
        self._excluded: list[dict[str, Any]] = doc.get("excludeResourceRules") or []
        self._equivalent = doc.get("matchPolicy") != "Exact"
        self._namespaces = labels.from_document(doc.get("namespaceSelector") or {})
        self._objects = labels.from_document(doc.get("objectSelector") or {})

    def match(self, a: Attributes) -> Endpoint | None:
        """The resource that the policy shall be shown the object as; None if it is not about it.

        Raises StatusError (404) if a namespace that has to be selected by does not exist.
        """
        missing: st.StatusError | None = None
        try:
            if not self._selects_namespace(a):
                return None
        except st.StatusError as error:
            missing = error
        if not self._selects_object(a):
            return None
        if self._find(self._excluded, a) is not None:
            return None
        found = self._find(self._rules, a) if self._rules else a.endpoint
        if found is not None and missing is not None:
            raise missing
        return found

    def _selects_namespace(self, a: Attributes) -> bool:
        about_namespaces = a.endpoint.storage == "namespaces"
        if not a.namespace and not about_namespaces:
            return True
        if self._namespaces.empty:
            return True
        if about_namespaces and not a.subresource and a.operation in ("CREATE", "UPDATE"):
            meta = (a.obj or {}).get("metadata", {})
            return self._namespaces.matches(meta.get("labels") or {})
        stored = a.api.store.state.get("namespaces", "", a.namespace)
        if stored is None:
            raise st.not_found("namespaces", "", a.namespace)
        return self._namespaces.matches(stored.labels or {})

    def _selects_object(self, a: Attributes) -> bool:
        if self._objects.empty:
            return True
        return any(
            self._objects.matches(obj.get("metadata", {}).get("labels") or {})
            for obj in (a.obj, a.old)
            if obj is not None
        )

    def _find(self, rules: list[dict[str, Any]], a: Attributes) -> Endpoint | None:
        endpoint = a.endpoint
        for rule in rules:
            if (
                _has(rule.get("apiGroups"), endpoint.group)
                and _has(rule.get("apiVersions"), endpoint.version)
                and _concerns(rule, a, endpoint.plural)
            ):
                return endpoint
        if not self._equivalent:
            return None
        for rule in rules:
            for other in _equivalents(rule, a):
                if _concerns(rule, a, other.plural):
                    return other
        return None


def _has(items: list[str] | None, wanted: str) -> bool:
    return items is not None and ("*" in items or wanted in items)


def _concerns(rule: Mapping[str, Any], a: Attributes, plural: str) -> bool:
    """Whether the rule's scope, operations, resources and names fit."""
    if not _has(rule.get("operations"), a.operation):
        return False
    scope = rule.get("scope") or "*"
    if scope != "*":
        cluster = a.endpoint.storage == "namespaces" or not a.namespace
        if cluster is not (scope == "Cluster"):
            return False
    wanted = rule.get("resourceNames")
    if wanted and a.name not in wanted:
        return False
    for item in rule.get("resources") or ():
        resource, _, sub = item.partition("/")
        if resource in ("*", plural) and sub in ("*", a.subresource):
            return True
    return False


def _equivalents(rule: Mapping[str, Any], a: Attributes) -> Iterator[Endpoint]:
    """Other versions and groups that the same objects are served in, as a rule names them."""
    endpoint = a.endpoint
    for group in rule.get("apiGroups") or ():
        group = endpoint.group if group == "*" else group
        for version in rule.get("apiVersions") or ():
            versions = catalogue.versions(group) if version == "*" else (version,)
            for each in versions:
                if (group, each) == (endpoint.group, endpoint.version):
                    continue
                other = a.api.registry.get(a.api, group, each, endpoint.plural)
                if other is not None and other.storage == endpoint.storage:
                    yield other


def namespace_object(a: Attributes) -> dict[str, Any] | None:
    """What expressions see of the request's namespace; raises 404 where there is none."""
    if not a.namespace or a.endpoint.storage == "namespaces":
        return None
    stored = a.api.store.state.get("namespaces", "", a.namespace)
    if stored is None:
        raise st.not_found("namespaces", "", a.namespace)
    doc = orjson.loads(stored.data)
    hidden = ("managedFields", "ownerReferences")
    meta = {k: v for k, v in doc["metadata"].items() if k not in hidden}
    return {"metadata": meta, "spec": doc.get("spec") or {}, "status": doc.get("status") or {}}
