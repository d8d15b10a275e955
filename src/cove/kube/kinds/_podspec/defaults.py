"""Defaults of a pod's spec, in Pods and in every kind's pod template.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from cove.kube.quantity import Quantity, parse

__all__ = ["default_claim_spec", "default_resources", "default_spec", "image_pull_policy"]

Doc = dict[str, Any]

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN = (
    r"(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
    r"(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
)
_REFERENCE = re.compile(
    rf"(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?"
    r"(?P<digest>@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?",
    re.ASCII,
)
_IDENTIFIER = re.compile("[a-f0-9]{64}")


@lru_cache(512)
def image_pull_policy(image: str) -> str:
    """``Always`` for the tag ``latest``, said or meant; ``IfNotPresent`` for the rest and for nonsense."""
    match = None if _IDENTIFIER.fullmatch(image) else _REFERENCE.fullmatch(image)
    if match is None:
        return "IfNotPresent"
    tag = match["tag"] or ("" if match["digest"] else "latest")
    return "Always" if tag == "latest" else "IfNotPresent"


def default_resources(resources: Doc | None) -> None:
    """Round amounts up to thousandths: the least a scheduler counts."""
    if resources:
        for key in ("limits", "requests"):
            amounts = resources.get(key)
            if amounts:
                _round(amounts)


def _round(amounts: Doc) -> None:
    for name, amount in amounts.items():
        if amount[-1] in "nu":
            quantity = parse(amount)
            amounts[name] = str(Quantity(quantity.milli * 1_000_000, quantity.format))


def default_claim_spec(spec: Doc) -> None:
    """The spec of a PersistentVolumeClaim, also in templates."""
    spec.setdefault("volumeMode", "Filesystem")
    default_resources(spec.get("resources"))


def default_spec(spec: Doc) -> None:
    """Everything of a PodSpec that does not depend on standing in a Pod."""
    if not spec.get("dnsPolicy"):
        spec["dnsPolicy"] = "ClusterFirst"
    if not spec.get("restartPolicy"):
        spec["restartPolicy"] = "Always"
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    if spec.get("terminationGracePeriodSeconds") is None:
        spec["terminationGracePeriodSeconds"] = 30
    if not spec.get("schedulerName"):
        spec["schedulerName"] = "default-scheduler"
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        # The older name of the field mirrors the newer one.
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for volume in spec.get("volumes") or ():
        _volume(volume)
    for containers in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(containers) or ():
            _container(container)
    overhead = spec.get("overhead")
    if overhead:
        _round(overhead)
    default_resources(spec.get("resources"))


def _field_refs(items: Any) -> None:
    for item in items or ():
        reference = item.get("fieldRef")
        if reference is not None and not reference.get("apiVersion"):
            reference["apiVersion"] = "v1"


def _mode(source: Doc) -> None:
    if source.get("defaultMode") is None:
        source["defaultMode"] = 0o644


_ABSENT: dict[str, dict[str, Any]] = {
    "iscsi": {"iscsiInterface": "default"},
    "rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "azureDisk": {
        "cachingMode": "ReadWrite",
        "fsType": "ext4",
        "readOnly": False,
        "kind": "Shared",
    },
    "scaleIO": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
}
# Fields that are pointers: an empty text is a value there.
_POINTERS = frozenset(("cachingMode", "readOnly", "kind"))


def source_defaults(holder: Doc) -> None:
    """What PersistentVolumes and pods' volumes have in common."""
    for kind, defaults in _ABSENT.items():
        source = holder.get(kind)
        if source is not None:
            for key, value in defaults.items():
                if source.get(key) is None or (source[key] == "" and key not in _POINTERS):
                    source[key] = value
    path = holder.get("hostPath")
    if path is not None and path.get("type") is None:
        path["type"] = ""


def _volume(volume: Doc) -> None:
    if len(volume) < 2:
        volume["emptyDir"] = {}
        return
    for kind, source in volume.items():
        if kind in ("secret", "configMap"):
            _mode(source)
        elif kind == "downwardAPI":
            _mode(source)
            _field_refs(source.get("items"))
        elif kind == "projected":
            _mode(source)
            for projection in source.get("sources") or ():
                _field_refs((projection.get("downwardAPI") or {}).get("items"))
                token = projection.get("serviceAccountToken")
                if token is not None and token.get("expirationSeconds") is None:
                    token["expirationSeconds"] = 3600
        elif kind == "ephemeral":
            template = source.get("volumeClaimTemplate")
            if template is not None:
                default_claim_spec(template.setdefault("spec", {}))
        elif kind == "image":
            if not source.get("pullPolicy"):
                source["pullPolicy"] = image_pull_policy(source.get("reference") or "")
        elif kind in _ABSENT or kind == "hostPath":
            source_defaults(volume)


_HANDLERS = ("postStart", "preStop")


def _container(container: Doc) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = image_pull_policy(container.get("image") or "")
    if not container.get("terminationMessagePath"):
        container["terminationMessagePath"] = "/dev/termination-log"
    if not container.get("terminationMessagePolicy"):
        container["terminationMessagePolicy"] = "File"
    for port in container.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
    for variable in container.get("env") or ():
        source = variable.get("valueFrom")
        if source:
            _field_refs((source,))
            file = source.get("fileKeyRef")
            if file is not None and file.get("optional") is None:
                file["optional"] = False
    default_resources(container.get("resources"))
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(kind)
        if probe is not None:
            _probe(probe)
    lifecycle = container.get("lifecycle")
    if lifecycle:
        for kind in _HANDLERS:
            handler = lifecycle.get(kind)
            if handler and handler.get("httpGet") is not None:
                _http_get(handler["httpGet"])


def _http_get(action: Doc) -> None:
    if not action.get("path"):
        action["path"] = "/"
    if not action.get("scheme"):
        action["scheme"] = "HTTP"


def _probe(probe: Doc) -> None:
    for key, value in _PROBE:
        if not probe.get(key):
            probe[key] = value
    action = probe.get("httpGet")
    if action is not None:
        _http_get(action)
    action = probe.get("grpc")
    if action is not None and action.get("service") is None:
        action["service"] = ""


_PROBE = (
    ("timeoutSeconds", 1),
    ("periodSeconds", 10),
    ("successThreshold", 1),
    ("failureThreshold", 3),
)
