"""ResourceQuota: nothing is written that would exceed a quota of its namespace.

What is admitted is charged at once, in the quota's ``status.used``, before the object
itself is written: no two writes can share the same rest.  The quota controller corrects
what is charged too much.

Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/ and
``k8s.io/apiserver/pkg/admission/plugin/resourcequota``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from cove.kube import quota as rules
from cove.kube.apply import Context, update_managed_fields
from cove.kube.kinds._kind import Obj
from cove.kube.podresources import Amounts, amounts
from cove.kube.quantity import Quantity
from cove.server.admission._chain import Attributes, Plugin

__all__ = ["ResourceQuota"]

QUOTAS = "resourcequotas"
# Who writes the status, as managed fields tell it.
MANAGER = "kube-apiserver"
_ZERO = Quantity(0)


class ResourceQuota(Plugin):
    """Judges every namespaced write where there is a quota; the last plugin of the chain."""

    name = "ResourceQuota"
    operations = frozenset(("CREATE", "UPDATE"))
    subresources = None

    def validate(self, a: Attributes) -> None:
        """Refuse what exceeds a quota, charge what does not."""
        namespaces = a.api.store.state.bucket(QUOTAS)
        if namespaces is None or not a.endpoint.namespaced or a.obj is None:
            return
        quotas = namespaces.get(a.namespace)
        if not quotas or not _handles(a):
            return
        found = [orjson.loads(quotas[name].data) for name in sorted(quotas)]
        charges = _charges(a, found, a.obj)
        if charges and not a.dry_run and _will_be_written(a):
            for quota, charge in charges:
                _charge(a, quota, charge)


def _storage(a: Attributes) -> str:
    return a.endpoint.storage


def _handles(a: Attributes) -> bool:
    storage, creating, subresource = _storage(a), a.operation == "CREATE", a.subresource
    if storage in rules.IGNORED:
        return False
    if storage == "pods":
        if subresource:
            return subresource == "resize" and not creating
        if creating:
            return True
        return (
            a.obj is not None
            and a.old is not None
            and rules.is_terminating(a.obj) != rules.is_terminating(a.old)
        )
    if storage in ("services", "persistentvolumeclaims"):
        return creating or subresource in ("", "status")
    if subresource:
        return False
    return creating or rules.counted(storage)


def _charges(a: Attributes, quotas: list[Obj], obj: Obj) -> list[tuple[Obj, Amounts]]:
    """What the write adds to each quota that it counts against; raises 403."""
    storage, now = _storage(a), a.api.now()
    interesting = []
    for quota in quotas:
        status = quota.get("status") or {}
        hard = status.get("hard") or {}
        names = rules.matching(storage, hard)
        if not names or not rules.in_scope(storage, quota, obj):
            continue
        name = quota["metadata"]["name"]
        if storage == "pods" and (why := rules.missing(obj, names)):
            raise a.forbidden(f"failed quota: {name}: {why}")
        used = status.get("used") or {}
        if any(n not in used for n in names):
            raise a.forbidden(
                f"status unknown for quota: {name}, resources: {','.join(sorted(names))}"
            )
        interesting.append((quota, amounts(hard), amounts(used)))
    if not interesting:
        return []
    asked = rules.usage(storage, obj, now)
    negative = sorted(name for name, amount in asked.items() if amount < _ZERO)
    if negative:
        raise a.forbidden(f"quota usage is negative for resource(s): {','.join(negative)}")
    more = asked
    if a.old is not None:
        before = rules.usage(storage, a.old, now)
        more = {n: q - before[n] if n in before else q for n, q in asked.items()}
    charges = []
    for quota, hard, used in interesting:
        again = a.old is not None and rules.in_scope(storage, quota, a.old)
        delta = {n: q for n, q in (more if again else asked).items() if n in hard and q > _ZERO}
        total = {n: used[n] + q if n in used else q for n, q in delta.items()}
        exceeded = sorted(n for n, q in total.items() if q > hard[n])
        if exceeded and a.subresource != "status":
            raise a.forbidden(
                f"exceeded quota: {quota['metadata']['name']}, "
                f"requested: {_told(delta, exceeded)}, used: {_told(used, exceeded)}, "
                f"limited: {_told(hard, exceeded)}"
            )
        if total:
            charges.append((quota, total))
    return charges


def _told(given: Amounts, names: Iterable[str]) -> str:
    return ",".join(f"{name}={given[name]}" for name in names if name in given)


def _will_be_written(a: Attributes) -> bool:
    """False where the write is about to fail: the name is taken, somebody wrote in between."""
    meta = (a.obj or {})["metadata"]
    stored = a.api.store.state.get(_storage(a), a.namespace, meta.get("name", ""))
    if a.old is None:
        return stored is None
    return stored is not None and str(stored.revision) == a.old["metadata"]["resourceVersion"]


def _charge(a: Attributes, quota: Obj, total: Amounts) -> None:
    """Write what is used now into the quota's status."""
    # The verbs know admission; admission knows them only here.
    from cove.server.verbs._write import store_object

    api = a.api
    endpoint = api.registry.builtin("", "v1", QUOTAS)
    assert endpoint is not None
    live: Obj = {"kind": endpoint.kind_name, "apiVersion": endpoint.api_version, **quota}
    used: dict[str, Any] = {**quota["status"]["used"], **{n: str(q) for n, q in total.items()}}
    obj: Obj = {
        **live,
        "metadata": dict(quota["metadata"]),
        "status": {**quota["status"], "used": {n: used[n] for n in sorted(used)}},
    }
    update_managed_fields(
        live,
        obj,
        Context(
            manager=MANAGER,
            api_version=endpoint.api_version,
            subresource="status",
            now=api.timestamp(),
            schema=endpoint.schema,
            schema_for=endpoint.schema_at,
            convert=endpoint.convert,
        ),
    )
    store_object(api, endpoint, obj)
