"""Subresources and resources that are questions: what answers for which verb."""

from __future__ import annotations

from cove.kube import kinds
from cove.kube.field_errors import FieldError
from cove.kube.kinds._kind import Kind, Obj
from cove.server.registry import STATUS, Handler
from cove.server.subresources.approval import approval
from cove.server.subresources.binding import bind, bind_by_body
from cove.server.subresources.custom_scale import handlers as custom_scale_handlers
from cove.server.subresources.eviction import evict
from cove.server.subresources.finalize import finalize
from cove.server.subresources.log import log
from cove.server.subresources.pods import part
from cove.server.subresources.proxy import proxy
from cove.server.subresources.reviews import REVIEWS, component_get, component_list
from cove.server.subresources.scale import builtin_paths
from cove.server.subresources.scale import handlers as scale_handlers
from cove.server.subresources.streams import stream
from cove.server.subresources.token import request_token

__all__ = ["SPECIALS", "SUBRESOURCES"]


def _pod_part(subresource: str, name: str) -> dict[str, Handler]:
    def prepare(new: Obj, old: Obj) -> None:
        getattr(kinds.kind("", "Pod"), f"prepare_{name}")(new, old)

    def validate(new: Obj, old: Obj) -> list[FieldError]:
        found: list[FieldError] = getattr(kinds.kind("", "Pod"), f"validate_{name}")(new, old)
        return found

    return part(subresource, prepare, validate)


def _signing_requests() -> Kind:
    return kinds.kind("certificates.k8s.io", "CertificateSigningRequest")


_SCALE = scale_handlers(builtin_paths)
_STREAM: dict[str, Handler] = {"create": stream, "get": stream}
_PROXY: dict[str, Handler] = dict.fromkeys(
    ("create", "delete", "get", "patch", "update", "list"), proxy
)

SUBRESOURCES: dict[tuple[str, str], dict[str, Handler]] = {
    ("*", "status"): STATUS,
    # Of custom resources: built-in workloads have their own.
    ("*", "scale"): custom_scale_handlers,
    ("deployments.apps", "scale"): _SCALE,
    ("replicasets.apps", "scale"): _SCALE,
    ("statefulsets.apps", "scale"): _SCALE,
    ("replicationcontrollers", "scale"): _SCALE,
    ("pods", "binding"): {"create": bind},
    ("pods", "eviction"): {"create": evict},
    ("pods", "ephemeralcontainers"): _pod_part("ephemeralcontainers", "ephemeral"),
    ("pods", "resize"): _pod_part("resize", "resize"),
    ("pods", "log"): {"get": log},
    ("pods", "exec"): _STREAM,
    ("pods", "attach"): _STREAM,
    ("pods", "portforward"): _STREAM,
    ("pods", "proxy"): _PROXY,
    ("services", "proxy"): _PROXY,
    ("nodes", "proxy"): _PROXY,
    ("namespaces", "finalize"): {"update": finalize},
    ("serviceaccounts", "token"): {"create": request_token},
    ("certificatesigningrequests.certificates.k8s.io", "approval"): approval(_signing_requests),
}

SPECIALS: dict[str, dict[str, Handler]] = {
    **REVIEWS,
    "bindings": {"create": bind_by_body},
    "componentstatuses": {"get": component_get, "list": component_list},
}
