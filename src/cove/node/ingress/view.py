"""View: what the proxy sees of the cluster, and when a change of it matters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Self

from cove.client import Handler, Informer, Informers
from cove.client.meta import key_of
from cove.kube.gvk import GVR
from cove.node.ingress.classes import INGRESS_CLASSES, Classes
from cove.node.ingress.status import INGRESSES

__all__ = ["View", "asked", "has_resource_backend"]

Doc = dict[str, Any]

SERVICES = GVR("", "v1", "services")
SECRETS = GVR("", "v1", "secrets")
SLICES = GVR("discovery.k8s.io", "v1", "endpointslices")

SERVICE_NAME = "kubernetes.io/service-name"
_INDEX = "ingress-by-service"


class View:
    """``async with View(informers, changed) as view``: entered, it has seen everything once.

    ``changed`` is called for every change that may matter: of Ingresses, classes and TLS
    Secrets, and of the services named in :attr:`used`.
    """

    def __init__(self, informers: Informers, changed: Callable[[], None]) -> None:
        self.used: set[str] = set()
        self._changed = changed
        self._ingresses = informers.informer(INGRESSES)
        self._classes = informers.informer(INGRESS_CLASSES)
        self._services = informers.informer(SERVICES)
        self._slices = informers.informer(SLICES)
        self._secrets = informers.informer(SECRETS, field_selector="type=kubernetes.io/tls")
        self._stack = ExitStack()

    async def __aenter__(self) -> Self:
        self._slices.add_index(_INDEX, _services)
        handlers: list[tuple[Informer, Handler]] = [
            (self._ingresses, self._ingress),
            (self._classes, self._any),
            (self._services, self._service),
            (self._slices, self._slice),
            (self._secrets, self._any),
        ]
        with ExitStack() as stack:
            for informer, handler in handlers:
                informer.add_handler(handler)
                stack.callback(informer.remove_handler, handler)
            for informer, _ in handlers:
                await informer.synced.wait()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._stack.close()

    def ingresses(self) -> tuple[dict[str, Doc], list[Doc]]:
        """Ours by ``namespace/name``, and all others."""
        classes = Classes(self._classes)
        ours: dict[str, Doc] = {}
        others: list[Doc] = []
        for ingress in self._ingresses:
            if classes.ours(ingress):
                ours[key_of(ingress)] = ingress
            else:
                others.append(ingress)
        return ours, others

    def service(self, key: str) -> Doc | None:
        """The Service ``namespace/name``."""
        return self._services.get_key(key)

    def slices(self, service: str) -> list[Doc]:
        """The EndpointSlices of the Service ``namespace/name``."""
        return self._slices.indexed(_INDEX, service)

    def secret(self, key: str) -> Doc | None:
        """The TLS Secret ``namespace/name``."""
        return self._secrets.get_key(key)

    def _any(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        self._changed()

    def _ingress(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if old is None or new is None or asked(old) != asked(new):
            self._changed()

    def _service(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if key_of(new or old or {}) in self.used:
            self._changed()

    def _slice(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if any(s in self.used for s in _services(new or old or {})):
            self._changed()


def _services(piece: Doc) -> Sequence[str]:
    metadata = piece["metadata"]
    name = (metadata.get("labels") or {}).get(SERVICE_NAME)
    return (f"{metadata['namespace']}/{name}",) if name else ()


def asked(ingress: Doc) -> Doc:
    """What of an Ingress decides on how it is served."""
    metadata = ingress["metadata"]
    return {
        "uid": metadata["uid"],
        "annotations": metadata.get("annotations"),
        "spec": ingress["spec"],
    }


def has_resource_backend(ingress: Doc) -> bool:
    """Whether one of its backends is no service."""
    spec = ingress["spec"]
    backends = [spec.get("defaultBackend") or {}]
    for rule in spec.get("rules") or ():
        backends += [p["backend"] for p in (rule.get("http") or {}).get("paths") or ()]
    return any(b.get("resource") for b in backends)
