"""LimitRanger: what containers, pods and claims of a namespace may ask for.

Source: https://kubernetes.io/docs/concepts/policy/limit-range/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from cove.kube.kinds._kind import Obj
from cove.kube.podresources import Amounts, amounts, pod_resources
from cove.kube.quantity import Quantity, parse
from cove.server.admission._chain import Attributes, Plugin

__all__ = ["LimitRanger", "defaults", "pod_errors"]

ANNOTATION = "kubernetes.io/limit-ranger"
RANGES = "limitranges"


class LimitRanger(Plugin):
    """Fills requests and limits in, then holds pods and claims to the bounds."""

    name = "LimitRanger"
    operations = frozenset(("CREATE", "UPDATE"))
    storages = frozenset(("pods", "persistentvolumeclaims"))
    subresources = frozenset(("", "resize"))

    def admit(self, a: Attributes) -> None:
        """Set the defaults of a new pod, and of one that is resized."""
        if a.obj is not None and a.endpoint.storage == "pods":
            for limits in _ranges(a):
                defaults(a.obj, limits)

    def validate(self, a: Attributes) -> None:
        """Refuse what is out of bounds; the first LimitRange that objects is told."""
        if a.obj is None:
            return
        judge = pod_errors if a.endpoint.storage == "pods" else claim_errors
        for limits in _ranges(a):
            errors = list(dict.fromkeys(judge(a.obj, limits)))
            if errors:
                raise a.forbidden(errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]")


def _ranges(a: Attributes) -> Iterator[list[Obj]]:
    """The ``spec.limits`` of the namespace's LimitRanges, none where they do not apply."""
    found = a.api.store.state.list(RANGES, a.namespace)
    if not found:
        return
    if a.old is not None and "deletionTimestamp" in a.old["metadata"]:
        return
    # Containers do not change but by resizing.
    if a.endpoint.storage == "pods" and (a.operation == "UPDATE") != (a.subresource == "resize"):
        return
    for stored in found:
        yield orjson.loads(stored.data)["spec"].get("limits") or []


def defaults(pod: Obj, limits: list[Obj]) -> None:
    """Give every container the defaults it lacks, and tell so in an annotation."""
    requests: dict[str, str] = {}
    maxima: dict[str, str] = {}
    for limit in limits:
        if limit.get("type") == "Container":
            requests.update(limit.get("defaultRequest") or {})
            maxima.update(limit.get("default") or {})
    if not requests and not maxima:
        return
    told: list[str] = []
    spec = pod["spec"]
    for key, noun in (("containers", "container"), ("initContainers", "init container")):
        for container in spec.get(key) or ():
            for field, word, given in (
                ("requests", "request", requests),
                ("limits", "limit", maxima),
            ):
                added = _merge(container, field, given)
                if added:
                    told.append(f"{', '.join(added)} {word} for {noun} {container['name']}")
    if told:
        meta = pod["metadata"]
        meta["annotations"] = {
            **(meta.get("annotations") or {}),
            ANNOTATION: f"LimitRanger plugin set: {'; '.join(told)}",
        }


def _merge(container: Obj, field: str, given: dict[str, str]) -> list[str]:
    """Add the amounts a container does not name; their names, sorted."""
    resources = container.get("resources") or {}
    own = resources.get(field) or {}
    added = sorted(name for name in given if name not in own)
    if added:
        merged = {**own, **{name: given[name] for name in added}}
        resources = {**resources, field: dict(sorted(merged.items()))}
        # As Go orders ResourceRequirements.
        container["resources"] = {
            k: resources[k] for k in ("limits", "requests", "claims") if k in resources
        }
    return added


def pod_errors(pod: Obj, limits: list[Obj]) -> Iterator[str]:
    """What of a pod is out of the bounds of a LimitRange."""
    spec = pod["spec"]
    for limit in limits:
        kind = limit.get("type", "")
        if kind == "Container":
            for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
                own = container.get("resources") or {}
                yield from _bounds(
                    kind, limit, amounts(own.get("requests")), amounts(own.get("limits"))
                )
        elif kind == "Pod":
            yield from _bounds(
                kind,
                limit,
                pod_resources(pod, "requests", overhead=False),
                pod_resources(pod, "limits", overhead=False),
            )


def claim_errors(claim: Obj, limits: list[Obj]) -> Iterator[str]:
    """What of a claim is out of the bounds of a LimitRange."""
    requests = amounts((claim["spec"].get("resources") or {}).get("requests"))
    for limit in limits:
        kind = limit.get("type", "")
        if kind != "PersistentVolumeClaim":
            continue
        yield from _bounds(kind, {"min": limit.get("min")}, requests, {})
        for name, text in (limit.get("max") or {}).items():
            asked, most = requests.get(name), parse(text)
            start = f"maximum {name} usage per {kind} is {most}"
            if asked is None:
                yield f"{start}.  No request is specified"
            elif asked > most:
                yield f"{start}, but request is {asked}"


def _bounds(kind: str, limit: Obj, requests: Amounts, limits: Amounts) -> Iterator[str]:
    for name, text in (limit.get("min") or {}).items():
        least, request, top = parse(text), requests.get(name), limits.get(name)
        start = f"minimum {name} usage per {kind} is {least}"
        if request is None:
            yield f"{start}.  No request is specified"
        elif request < least:
            yield f"{start}, but request is {request}"
        elif top is not None and top < least:
            yield f"{start}, but limit is {top}"
    for name, text in (limit.get("max") or {}).items():
        most, request, top = parse(text), requests.get(name), limits.get(name)
        start = f"maximum {name} usage per {kind} is {most}"
        if top is None:
            yield f"{start}.  No limit is specified"
        elif top > most:
            yield f"{start}, but limit is {top}"
        elif request is not None and request > most:
            yield f"{start}, but request is {request}"
    for name, text in (limit.get("maxLimitRequestRatio") or {}).items():
        error = _ratio(kind, name, parse(text), requests.get(name), limits.get(name))
        if error:
            yield error


def _ratio(
    kind: str, name: str, most: Quantity, request: Quantity | None, limit: Quantity | None
) -> str:
    start = f"{name} max limit to request ratio per {kind} is {most}, but"
    if not request:
        return f"{start} no request is specified or request is 0"
    if not limit:
        return f"{start} no limit is specified or limit is 0"
    ratio: Any = limit.nanos / request.nanos
    return (
        f"{start} provided ratio is {ratio:f}"
        if limit.nanos * 10**9 > most.nanos * request.nanos
        else ""
    )
