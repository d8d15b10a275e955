"""What an API server is told of webhooks, as documents; pure.

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
and https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from cove.kube.gvk import GVR
from cove.operator.entities import info
from cove.operator.webhooks.declarations import AdmissionSpec

if TYPE_CHECKING:
    from cove.operator.operator import Operator

__all__ = [
    "KINDS",
    "OPERATOR",
    "ClientConfig",
    "Rights",
    "conversion",
    "rights",
    "webhook_configurations",
]

Doc = dict[str, Any]
GROUP = "admissionregistration.k8s.io"
# The label that says whose a configuration is.
OPERATOR = "webhooks.cove.dev/operator"
# The kinds of configurations, and of the webhooks in them.
KINDS = {
    "validate": (
        "ValidatingWebhookConfiguration",
        GVR(GROUP, "v1", "validatingwebhookconfigurations"),
    ),
    "mutate": ("MutatingWebhookConfiguration", GVR(GROUP, "v1", "mutatingwebhookconfigurations")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """How an API server reaches the operator: a Service (namespace, name), or a URL.

    ``ca_bundle`` is PEM; b"" leaves it out: the operator fills it in when it runs, or the
    API server's own authorities are asked.
    """

    service: tuple[str, str] | None = None
    port: int = 443
    url: str = ""
    ca_bundle: bytes = b""

    def __post_init__(self) -> None:
        if (self.service is None) == (not self.url):
            raise ValueError("a client configuration has a service or a url, one of them")

    def at(self, path: str) -> Doc:
        """The ``clientConfig`` of the webhook at a path."""
        if self.service is None:
            doc: Doc = {"url": self.url.rstrip("/") + path}
        else:
            namespace, name = self.service
            service = {"namespace": namespace, "name": name, "port": self.port, "path": path}
            doc = {"service": service}
        if self.ca_bundle:
            doc["caBundle"] = base64.b64encode(self.ca_bundle).decode()
        return doc


def webhook_configurations(
    operator: Operator, client_config: ClientConfig, *, name: str | None = None
) -> list[Doc]:
    """The configurations of what an operator validates and changes; none for neither.

    ``name`` None is the operator's.
    """
    out = []
    for kind, specs in (("mutate", operator.mutators), ("validate", operator.validators)):
        if specs:
            metadata = {"name": name or operator.name, "labels": {OPERATOR: operator.name}}
            out.append(
                {
                    "apiVersion": f"{GROUP}/v1",
                    "kind": KINDS[kind][0],
                    "metadata": metadata,
                    "webhooks": [_webhook(spec, client_config) for spec in specs],
                }
            )
    return out


def _webhook(spec: AdmissionSpec, client_config: ClientConfig) -> Doc:
    options, about = spec.options, info(spec.cls)
    rule = {
        "operations": [operation.upper() for operation in spec.handlers],
        "apiGroups": [about.group],
        "apiVersions": [about.version],
        "resources": [
            f"{about.plural}/{sub}" if sub else about.plural for sub in spec.subresources
        ],
        "scope": options["scope"],
    }
    conditions = options["match_conditions"].items()
    doc: Doc = {
        "name": spec.name,
        "clientConfig": client_config.at(spec.path),
        "rules": [rule],
        "failurePolicy": options["failure_policy"],
        "matchPolicy": options["match_policy"],
        "namespaceSelector": options["namespace_selector"],
        "objectSelector": options["selector"],
        "sideEffects": options["side_effects"],
        "timeoutSeconds": options["timeout"],
        "admissionReviewVersions": ["v1"],
    }
    if conditions:
        doc["matchConditions"] = [{"name": n, "expression": text} for n, text in conditions]
    if spec.kind == "mutate":
        doc["reinvocationPolicy"] = options["reinvocation"]
    return doc


def conversion(crd: Mapping[str, Any], client_config: ClientConfig) -> Doc:
    """A CustomResourceDefinition whose versions the operator converts between."""
    spec = crd["spec"]
    path = f"/convert/{spec['names']['plural']}.{spec['group']}"
    return {**crd, "spec": {**spec, "conversion": conversion_of(path, client_config)}}


def conversion_of(path: str, client_config: ClientConfig) -> Doc:
    """The ``spec.conversion`` that asks at a path."""
    webhook = {"clientConfig": client_config.at(path), "conversionReviewVersions": ["v1"]}
    return {"strategy": "Webhook", "webhook": webhook}


class Rights(NamedTuple):
    """Rules of a ClusterRole, and of a Role in the namespace of the Secret."""

    cluster: list[Doc]
    namespace: list[Doc]


def rights(operator: Operator, *, secret: str | None = None) -> Rights:
    """What an operator has to be allowed for its webhooks, in a cluster; none without any.

    ``secret`` None is ``{operator}-webhooks``.
    """
    converted = sorted({info(spec.hub).crd_name for spec in operator.converters})
    cluster, follow = [], ["get", "list", "watch", "update"]
    if operator.validators or operator.mutators:
        resources = [gvr.resource for _, gvr in KINDS.values()]
        # What is created has no name yet that a rule could know.
        cluster.append(_rule(GROUP, resources, ["create"]))
        verbs = [*follow, "patch", "delete"]
        cluster.append(_rule(GROUP, resources, verbs, operator.name))
    elif converted:
        resources = [gvr.resource for _, gvr in KINDS.values()]
        cluster.append(_rule(GROUP, resources, ["get", "delete"], operator.name))
    if converted:
        group, resource = "apiextensions.k8s.io", "customresourcedefinitions"
        cluster.append(_rule(group, [resource], follow, *converted))
    if not cluster:
        return Rights([], [])
    name = secret or f"{operator.name}-webhooks"
    return Rights(
        cluster,
        [_rule("", ["secrets"], ["create"]), _rule("", ["secrets"], follow, name)],
    )


def _rule(group: str, resources: list[str], verbs: list[str], *names: str) -> Doc:
    rule: Doc = {"apiGroups": [group], "resources": resources, "verbs": verbs}
    return {**rule, "resourceNames": list(names)} if names else rule
