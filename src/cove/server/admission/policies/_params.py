"""The parameters that a binding names.

Source: ``CollectParams`` of ``k8s.io/apiserver/pkg/admission/plugin/policy/generic``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cove.kube import catalogue, labels
from cove.server.admission._chain import Attributes
from cove.server.api import Api
from cove.server.endpoint import Endpoint

__all__ = ["ConfigurationError", "collect"]


class ConfigurationError(Exception):
    """A binding and its policy do not fit together."""


def collect(
    a: Attributes, kind: Mapping[str, Any] | None, reference: Mapping[str, Any] | None
) -> list[dict[str, Any] | None]:
    """The objects to evaluate a policy with, one after the other; [None]: without parameters.

    Raises ConfigurationError.
    """
    if kind is None or reference is None:
        return [None]
    api = a.api
    endpoint = _endpoint(api, kind)
    if endpoint is None:
        raise ConfigurationError(
            f"paramKind kind `&ParamKind{{APIVersion:{kind.get('apiVersion')},"
            f"Kind:{kind.get('kind')},}}` not known"
        )
    namespace = reference.get("namespace") or ""
    if endpoint.namespaced:
        namespace = namespace or a.namespace
        if not namespace:
            raise ConfigurationError(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped "
                "resources"
            )
    elif namespace:
        raise ConfigurationError(
            "paramRef.namespace must not be provided for a cluster-scoped `paramKind`"
        )
    state = api.store.state
    found: list[dict[str, Any] | None]
    if reference.get("name"):
        stored = state.get(endpoint.storage, namespace, reference["name"])
        found = [] if stored is None else [endpoint.load(stored.data)]
    else:
        selector = labels.from_document(reference.get("selector") or {})
        found = [
            endpoint.load(s.data)
            for s in state.list(endpoint.storage, namespace)
            if selector.matches(s.labels or {})
        ]
    if not found and reference.get("parameterNotFoundAction") == "Deny":
        raise ConfigurationError(
            "no params found for policy binding with `Deny` parameterNotFoundAction"
        )
    return found


def _endpoint(api: Api, kind: Mapping[str, Any]) -> Endpoint | None:
    group, _, version = str(kind.get("apiVersion") or "").rpartition("/")
    name = kind.get("kind")
    for resource in catalogue.resources():
        if (resource.group, resource.version, resource.kind) == (group, version, name):
            return api.registry.get(api, group, version, resource.plural)
    for crd in api.registry.custom.snapshot(api).crds:
        if crd.group == group and crd.names.get("kind") == name:
            return api.registry.get(api, group, version, str(crd.names.get("plural")))
    return None
