"""CONNECT: what admission is asked before a connection to a container or a proxy is made.

Source: ``ConnectResource`` of apiserver's ``pkg/endpoints/handlers``; the options are those
of ``core/v1``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from cove.kube.kinds._kind import Obj
from cove.server.admission._chain import Attributes
from cove.server.request import Request

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["CONNECTED", "connect"]

# (storage key, subresource) → the kind of its options.
CONNECTED = {
    ("pods", "exec"): "PodExecOptions",
    ("pods", "attach"): "PodAttachOptions",
    ("pods", "portforward"): "PodPortForwardOptions",
    ("pods", "proxy"): "PodProxyOptions",
    ("services", "proxy"): "ServiceProxyOptions",
    ("nodes", "proxy"): "NodeProxyOptions",
}
_FLAGS = ("stdin", "stdout", "stderr", "tty")


async def connect(api: Api, request: Request, endpoint: Endpoint) -> None:
    """Ask; the request's query is what admission leaves of the options.  Raises StatusError."""
    info = request.info
    before = _options(request, CONNECTED[endpoint.storage, info.subresource])
    doc = dict(before)
    attributes = Attributes(
        api,
        request,
        endpoint,
        "CONNECT",
        namespace=info.namespace,
        name=info.name,
        obj=doc,
        old=None,
        subresource=info.subresource,
    )
    await api.admission.admit(attributes)
    await api.admission.validate(attributes)
    if doc != before and "path" not in doc:
        request.query_string = _query(doc)


def _options(request: Request, kind: str) -> Obj:
    doc: Obj = {"kind": kind, "apiVersion": "v1"}
    if kind.endswith("ProxyOptions"):
        if request.info.parts:
            doc["path"] = "/".join(request.info.parts)
        return doc
    query = request.query
    if kind == "PodPortForwardOptions":
        ports = [int(p) for text in query.get("ports", ()) for p in text.split(",") if p.isdigit()]
        return {**doc, "ports": ports} if ports else doc
    for name in _FLAGS:
        values = query.get(name)
        if values and values[0].lower() not in ("false", "0"):
            doc[name] = True
    if container := request.param("container"):
        doc["container"] = container
    if kind == "PodExecOptions" and "command" in query:
        doc["command"] = list(query["command"])
    return doc


def _query(doc: Obj) -> str:
    given = {k: v for k, v in doc.items() if k not in ("kind", "apiVersion")}
    told = {k: "true" if v is True else v for k, v in given.items() if v is not False}
    return urlencode(told, doseq=True)
