"""Which pod and port a Service leads to, decided from documents alone.

An answer is one of three: a :class:`Target`; :class:`NotYet`, which a change in the cluster
may mend; :class:`Never`, which it is of no use to wait for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, get_args

from cove.host.errors import AppError
from cove.kube.labels import Selector, from_map

__all__ = [
    "Never",
    "NotYet",
    "Scheme",
    "Target",
    "checked_name",
    "checked_port",
    "checked_scheme",
    "is_ready",
    "resolve",
    "scheme_of",
    "selector_of",
    "service_port",
    "target_port",
]

Doc = Mapping[str, Any]
Scheme = Literal["http", "https"]

_HTTPS = (443, 8443)
# How many pods are told of when none is ready.
_TOLD = 3


class Target(NamedTuple):
    """A ready pod, its port, and the number of the Service's own."""

    pod: str
    uid: str
    port: int
    service_port: int


class NotYet(NamedTuple):
    """There is nobody to connect to now."""

    reason: str


class Never(NamedTuple):
    """There will never be anybody: the Service is not of a kind that pods stand behind."""

    reason: str


# -- what is given


def checked_name(what: str, name: str) -> str:
    """A name as it was given; raises AppError for a blank one or spaces around it."""
    if not name.strip():
        raise AppError(f"{what} is blank: name it")
    if name != name.strip():
        raise AppError(f'{what} is "{name}": there are spaces around it')
    return name


def checked_port(port: int | str) -> int | str:
    """The number (1–65535, digits as well) or name of a Service's port; raises AppError."""
    if isinstance(port, str):
        checked_name("the name of the service's port", port)
        if not port.isascii() or not port.isdigit():
            return port
        port = int(port)
    if isinstance(port, bool) or not 1 <= port <= 65535:
        raise AppError(f"port {port} cannot be: ports are 1–65535")
    return port


def checked_scheme(scheme: str | None) -> Scheme | None:
    """A scheme as it was given, None for the one of the port; raises AppError."""
    if scheme is not None and scheme not in get_args(Scheme):
        raise AppError(f'the scheme is "{scheme}": it is http or https')
    return scheme  # type: ignore[return-value]  # it is one of them now


def scheme_of(port: int | str, override: Scheme | None = None) -> Scheme:
    """What is spoken on a Service's port: https on 443, 8443 and a port called so."""
    return override or ("https" if port in (*_HTTPS, "https") else "http")


# -- what there is


def selector_of(service: Doc) -> Selector | Never:
    """The selector of a Service's pods."""
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return Never(
            f"{_name(service)} stands for {spec.get('externalName')} (ExternalName), no pods are "
            "behind it: connect to that name directly"
        )
    if not spec.get("selector"):
        # An empty selector selects everything: never what is meant.
        return Never(
            f"{_name(service)} has no selector, so no pods are known to be behind it: give it "
            "one, or an endpoint of its own to a service that has"
        )
    return from_map(spec["selector"])


def service_port(service: Doc, port: int | str) -> Doc | NotYet:
    """The port of a Service's spec by number or name."""
    ports = (service.get("spec") or {}).get("ports") or ()
    key = "name" if isinstance(port, str) else "port"
    found = [p for p in ports if p.get(key) == port]
    for one in found:
        if one.get("protocol", "TCP") == "TCP":
            return one  # type: ignore[no-any-return]
    if found:
        return NotYet(
            f"port {port} of {_name(service)} is {found[0]['protocol']}: only TCP is forwarded"
        )
    listed = ", ".join(
        f"{p['port']} ({p['name']})" if p.get("name") else str(p["port"]) for p in ports
    )
    return NotYet(f"{_name(service)} exposes no port {port}; it has: {listed or 'none'}")


def target_port(port: Doc, pod: Doc) -> int | None:
    """The number of a Service's port on a pod; None if the pod has no port of that name."""
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target or int(port["port"])
    spec = pod["spec"]
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in (*spec["containers"], *sidecars):
        for declared in container.get("ports") or ():
            if declared.get("name") == target and declared.get("protocol", "TCP") == "TCP":
                return int(declared["containerPort"])
    return None


def is_ready(pod: Doc) -> bool:
    """Whether a pod runs with all containers ready and is not on its way out."""
    return not _missing(pod)


def _missing(pod: Doc) -> str:
    """What keeps a pod from being ready, "" for nothing."""
    if pod["metadata"].get("deletionTimestamp"):
        return "is going away"
    status = pod.get("status") or {}
    statuses = {s["name"]: s for s in status.get("containerStatuses") or ()}
    if status.get("phase") != "Running":
        why = next(filter(None, map(_waiting, statuses.values())), "")
        return f"is {status.get('phase') or 'Pending'}" + (f" ({why})" if why else "")
    for container in pod["spec"]["containers"]:
        one = statuses.get(container["name"], {})
        if not one.get("ready"):
            why = _waiting(one)
            return f"waits for container {container['name']}" + (f" ({why})" if why else "")
    for condition in status.get("conditions") or ():
        # Gates, and sidecars.
        if condition["type"] == "Ready" and condition["status"] != "True":
            return f"is not ready ({condition.get('message') or condition.get('reason')})"
    return ""


def _waiting(status: Doc) -> str:
    state = status.get("state") or {}
    waits = state.get("waiting") or state.get("terminated") or {}
    return str(waits.get("reason") or "")


def resolve(
    service: Doc | None, name: str, pods: Iterable[Doc], port: int | str, keep: str = ""
) -> Target | NotYet | Never:
    """Where connections to a Service's port go.

    ``name`` is what the Service is called in messages (``namespace/name``), ``pods`` are
    any pods: those that the selector does not select or that are elsewhere do not count.
    ``keep`` is the uid of the pod that is connected to now: it is kept while it is ready.
    Otherwise it is the newest, which a rollout replaces last.
    """
    if service is None:
        return NotYet(f"service {name} does not exist yet")
    selector = selector_of(service)
    if isinstance(selector, Never):
        return selector
    exposed = service_port(service, port)
    if isinstance(exposed, NotYet):
        return exposed
    namespace = service["metadata"].get("namespace")
    behind = [
        pod
        for pod in pods
        if pod["metadata"].get("namespace") == namespace
        and selector.matches(pod["metadata"].get("labels"))
    ]
    if not behind:
        return NotYet(f"no pod has the labels of {_name(service)} ({_text(selector)})")
    ready = sorted(filter(is_ready, behind), key=_age, reverse=True)
    ready.sort(key=lambda pod: pod["metadata"]["uid"] != keep)
    for pod in ready:
        number = target_port(exposed, pod)
        if number is not None:
            metadata = pod["metadata"]
            return Target(metadata["name"], metadata["uid"], number, int(exposed["port"]))
    if ready:
        return NotYet(
            f'pod {ready[0]["metadata"]["name"]} has no port called "{exposed["targetPort"]}", '
            f"which port {port} of {_name(service)} leads to"
        )
    behind.sort(key=_age, reverse=True)
    told = [f"{pod['metadata']['name']} {_missing(pod)}" for pod in behind[:_TOLD]]
    more = f" and {len(behind) - _TOLD} more" if len(behind) > _TOLD else ""
    return NotYet(f"no pod of {_name(service)} is ready: {'; '.join(told)}{more}")


def _age(pod: Doc) -> tuple[str, str]:
    metadata = pod["metadata"]
    return metadata.get("creationTimestamp") or "", metadata["name"]


def _name(service: Doc) -> str:
    metadata = service["metadata"]
    return f"service {metadata.get('namespace')}/{metadata['name']}"


def _text(selector: Selector) -> str:
    return ",".join(f"{r.key}={r.values[0]}" for r in selector.requirements)
