"""Waiting for a condition of one object, or for roll-outs, and what is told when it does not come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cove.host.rollout import WORKLOADS, Rollout, Unready
from cove.host.rollout import Target as Workload
from cove.kube.jsonpath import JSONPathError, compile_path, text
from cove.testing.diagnosis import situation
from cove.testing.kubernetes._targets import Target, resolve
from cove.testing.kubernetes._watching import Watching
from cove.testing.values import unwrap, wrap

if TYPE_CHECKING:
    from cove.testing.kubernetes._facade import Kubernetes

__all__ = ["condition", "wait_for", "wait_rollouts"]

Doc = dict[str, Any]
Holds = Callable[[Doc | None], bool]


def condition(said: str | Callable[[Any], Any]) -> Holds:
    """Whether an object (None: it is not there) fulfils a condition.

    ``condition=TYPE[=STATUS]``, ``jsonpath={PATH}[=VALUE]``, ``create``, ``delete``, or a function,
    which is asked of objects that are there.  Raises ValueError for any other text.
    """
    if callable(said):
        ask = said
        return lambda obj: obj is not None and bool(ask(wrap(obj, None)))
    if said == "delete":
        return lambda obj: obj is None
    if said in ("create", "exists"):
        return lambda obj: obj is not None
    kind, _, rest = said.partition("=")
    if kind == "condition" and rest:
        type_, _, status = rest.partition("=")
        return lambda obj: _has(obj, type_, status or "True")
    if kind == "jsonpath" and rest:
        path, closed, value = rest.rpartition("}") if "}" in rest else (rest, "", "")
        try:
            find = compile_path(path.strip("{} "))
        except JSONPathError as e:
            raise ValueError(f'the condition "{said}": {e}') from e
        wanted = value.lstrip("=") if closed and value.startswith("=") else None
        return lambda obj: obj is not None and _found(find(obj), wanted)
    raise ValueError(
        f'"{said}" is no condition: say "condition=Ready", "jsonpath={{.status.phase}}=Running", '
        '"create", "delete", or give a function'
    )


def _has(obj: Doc | None, type_: str, status: str) -> bool:
    """As kubectl: what the controller has not seen yet does not count."""
    if obj is None:
        return False
    generation = (obj.get("metadata") or {}).get("generation")
    told = obj.get("status") or {}
    seen = told.get("observedGeneration")
    if generation is not None and seen is not None and seen < generation:
        return False
    for each in told.get("conditions") or ():
        if str(each.get("type", "")).lower() == type_.lower():
            observed = each.get("observedGeneration")
            if generation is not None and observed is not None and observed < generation:
                return False
            return str(each.get("status", "")).lower() == status.lower()
    return False


def _found(values: list[Any], wanted: str | None) -> bool:
    if wanted is None:
        return bool(values)
    return any(text(value) == wanted for value in values)


async def wait_for(
    k8s: Kubernetes,
    what: Any,
    said: str | Callable[[Any], Any],
    namespace: str | None,
    timeout: float,
) -> Any:
    """See :meth:`Kubernetes.wait_for`."""
    holds = condition(said)
    place = k8s._place
    last: Doc | None = None
    target: Target | None = None
    try:
        async with asyncio.timeout(timeout):
            target = await resolve(place.plain, what, namespace or k8s.namespace)
            async with Watching(place.plain, target.gvr, target.namespace, target.name) as watching:
                async for last in watching.states():
                    if holds(last):
                        break
    except TimeoutError:
        named = said if isinstance(said, str) else getattr(said, "__name__", "the condition")
        lines = [f"{target or what}: no {named} within {timeout:g} s", _seen(last)]
        lines += (await situation(place.plain, place.space)).lines
        message = "\n".join(lines)
        if place.timeline is not None:
            place.timeline.note("wait", f"waited for {target or what} in vain", message)
        raise AssertionError(message) from None
    assert target is not None, "it was found"
    if last is None:
        return None
    # Once more as a call, which what is asserted of it can be linked to.
    made = await k8s._linked(place.client.get(target.gvr, target.name, target.namespace))
    k8s._note(target.gvr, target.namespace, target.name, made)
    return made


def _seen(obj: Doc | None) -> str:
    if obj is None:
        return "it is not there"
    status = obj.get("status") or {}
    told = [
        f"{c.get('type')}={c.get('status')}"
        + (f" ({c['reason']}: {c.get('message', '')})" if c.get("reason") else "")
        for c in status.get("conditions") or ()
    ]
    phase = [f"phase {status['phase']}"] if status.get("phase") else []
    return f"last seen: {', '.join([*phase, *told]) or 'no conditions'}"


async def wait_rollouts(
    k8s: Kubernetes, what: Sequence[str], namespace: str | None, timeout: float
) -> None:
    """See :meth:`Kubernetes.wait_rollouts`."""
    place = k8s._place
    space = unwrap(namespace) or k8s.namespace
    missing: list[Unready] = []
    wanted = await _workloads(k8s, what, space)
    try:
        async with asyncio.timeout(timeout), Rollout(place.plain, wanted) as rollout:
            await rollout.synced()
            while missing := rollout.missing():
                if any(each.final for each in missing):
                    break
                await rollout.changed()
            else:
                return
    except TimeoutError:
        pass
    lines = [f"not rolled out within {timeout:g} s:", *(f"  {each}" for each in missing)]
    if any(each.final for each in missing):
        lines[0] = "these failed:"
    lines += (await situation(place.plain, place.space)).lines
    message = "\n".join(lines)
    if place.timeline is not None:
        place.timeline.note("wait", "waited for roll-outs in vain", message)
    raise AssertionError(message)


async def _workloads(k8s: Kubernetes, what: Sequence[str], namespace: str) -> list[Workload]:
    client = k8s._place.plain
    if what:
        found = [await resolve(client, one, namespace) for one in what]
        known = set(WORKLOADS.values())
        for target in found:
            if target.gvr not in known:
                raise ValueError(f"{target}: only workloads roll out, not a {target.kind}")
        return [Workload(t.gvr, t.kind, t.namespace or "", t.name) for t in found]
    workloads = []
    for (_, kind), gvr in WORKLOADS.items():
        if kind in ("Job", "Pod"):
            continue
        for obj in (await client.list(gvr, namespace)).items:
            workloads.append(Workload(gvr, kind, namespace, obj["metadata"]["name"]))
    return workloads
