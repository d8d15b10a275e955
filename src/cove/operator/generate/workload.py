"""The Deployment of an operator, and the Service that leads to it; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cove.operator.generate.options import Options
from cove.operator.rbac.roles import labels

if TYPE_CHECKING:
    from cove.operator.operator import Operator

__all__ = ["deployment", "service"]

Doc = dict[str, Any]
# Nobody's number, the one that images without users are run as.
USER = 65532
RESOURCES: Doc = {
    "requests": {"cpu": "10m", "memory": "96Mi"},
    "limits": {"cpu": "500m", "memory": "256Mi"},
}


def has_webhooks(operator: Operator) -> bool:
    """Whether an API server has something to ask it."""
    return bool(operator.validators or operator.mutators or operator.converters)


def ports(operator: Operator) -> list[tuple[str, int, int]]:
    """(name, port of the Service, port of the container)."""
    settings = operator.settings
    found = []
    if has_webhooks(operator):
        found.append(("webhooks", 443, settings.webhook_port or 9443))
    if settings.metrics_port:
        found.append(("metrics", settings.metrics_port, settings.metrics_port))
    return found


def arguments(operator: Operator, options: Options) -> list[str]:
    """What the container is started with."""
    out = ["run", options.module]
    if operator.settings.namespaced:
        out.append("--namespaced")
    if options.elects(operator) and operator.settings.leadership is None:
        out.append("--elect")
    return out


def deployment(operator: Operator, options: Options) -> Doc:
    """One that restricted namespaces take: no root, nothing written, no more than it needs."""
    about = labels(operator)
    pod: Doc = {
        "serviceAccountName": operator.name,
        "terminationGracePeriodSeconds": int(operator.settings.grace) + 10,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(operator, options)],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": operator.name, "namespace": options.namespace, "labels": about},
        "spec": {
            "replicas": options.replicas,
            "selector": {"matchLabels": about},
            "template": {"metadata": {"labels": about}, "spec": pod},
        },
    }


def _container(operator: Operator, options: Options) -> Doc:
    settings = operator.settings
    env: list[Doc] = [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in (("POD_NAMESPACE", "metadata.namespace"), ("POD_NAME", "metadata.name"))
    ]
    if ports(operator):
        env.append({"name": "COVE_OPERATOR_SERVICE", "value": operator.name})
    listed = [(name, target) for name, _, target in ports(operator)]
    out: Doc = {
        "name": "operator",
        "image": options.image,
        "args": arguments(operator, options),
        "env": env,
    }
    if settings.health_port:
        if settings.health_port not in [number for _, number in listed]:
            listed.append(("health", settings.health_port))
        out["livenessProbe"] = _probe("/healthz", settings.health_port, 20)
        out["readinessProbe"] = _probe("/readyz", settings.health_port, 10)
    if listed:
        out["ports"] = [{"name": name, "containerPort": number} for name, number in listed]
    out["resources"] = RESOURCES
    out["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    return out


def _probe(path: str, port: int, period: int) -> Doc:
    return {
        "httpGet": {"path": path, "port": port},
        "initialDelaySeconds": 2,
        "periodSeconds": period,
    }


def service(operator: Operator, options: Options) -> Doc | None:
    """Where webhooks are called and metrics read; None where there is neither."""
    listed = ports(operator)
    if not listed:
        return None
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": operator.name,
            "namespace": options.namespace,
            "labels": labels(operator),
        },
        "spec": {
            "selector": labels(operator),
            "ports": [
                {"name": name, "port": port, "targetPort": target} for name, port, target in listed
            ],
        },
    }
