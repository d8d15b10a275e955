"""What follows from a CRD being written or deleted, done before the write is answered.

Names are accepted or refused, versions served, APIServices made; a deleted CRD takes its
instances along.  Upstream has a controller for each (``pkg/controller/{status,establish,
finalizer}``) and leaves the same conditions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from cove.kube.kinds._kind import Obj
from cove.kube.kinds.apiextensions import CLEANUP, set_condition
from cove.kube.structural import same
from cove.server import apiservices
from cove.server.custom import CRDS
from cove.server.registry import Hook
from cove.server.verbs._write import remove, store_object

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["CrdHook", "InstanceHook"]


def _crds(api: Api, group: str) -> list[Obj]:
    """The CRDs of a group, in the order of their names."""
    out = []
    for stored in api.store.state.list(CRDS):
        doc = orjson.loads(stored.data)
        if doc["spec"].get("group") == group:
            out.append(doc)
    return out


def _typed(endpoint: Endpoint, doc: Mapping[str, Any]) -> Obj:
    return {"kind": endpoint.kind_name, "apiVersion": endpoint.api_version, **doc}


class CrdHook(Hook):
    """Runs upstream's CRD controllers on every write of a CRD."""

    def wrote(self, api: Api, endpoint: Endpoint, obj: Obj) -> None:
        """Settle the CRD, and those that its names concern."""
        meta = obj["metadata"]
        if "deletionTimestamp" in meta:
            if CLEANUP in meta.get("finalizers", ()):
                _finalize(api, endpoint, meta["name"])
            return
        group = obj["spec"]["group"]
        if not _accept_names(api, endpoint, obj):
            _sync_apiservices(api, group)
            storage = f"{obj['spec']['names']['plural']}.{group}"
            api.store.disconnect_resource(storage)

    def ended(self, api: Api, endpoint: Endpoint, obj: Obj) -> None:
        """Free the names, stop serving."""
        group = obj["spec"]["group"]
        api.store.disconnect_resource(f"{obj['spec']['names']['plural']}.{group}")
        for other in _crds(api, group):
            if "deletionTimestamp" not in other["metadata"]:
                _accept_names(api, endpoint, _typed(endpoint, other))
        _sync_apiservices(api, group)


class InstanceHook(Hook):
    """Lets a CRD go when the last of its instances has."""

    def ended(self, api: Api, endpoint: Endpoint, obj: Obj) -> None:
        """After a custom resource was removed."""
        if api.store.state.count(endpoint.storage):
            return
        name = f"{endpoint.plural}.{endpoint.group}"
        stored = api.store.state.get(CRDS, "", name)
        if stored is None or b'"deletionTimestamp"' not in stored.data:
            return
        crds = api.registry.builtin("apiextensions.k8s.io", "v1", "customresourcedefinitions")
        assert crds is not None
        crd = crds.load(stored.data)
        if CLEANUP in crd["metadata"].get("finalizers", ()):
            _finish(api, crds, crd, "InstanceDeletionCompleted", "removed all instances")


# -- names


def _accept_names(api: Api, endpoint: Endpoint, crd: Obj) -> bool:
    """Settle the names of a CRD; True if that wrote it, and with it everything that follows."""
    wanted = crd["spec"]["names"]
    status = crd.get("status") or {}
    accepted = status.get("acceptedNames") or {}
    established = any(
        c["type"] == "Established" and c["status"] == "True" for c in status.get("conditions") or ()
    )
    if same(wanted, accepted) and established:
        return False
    group = crd["spec"]["group"]
    names, reason, message = _judge(wanted, accepted, _crds(api, group))
    new = {**crd, "metadata": dict(crd["metadata"]), "status": {**status, "acceptedNames": names}}
    now = api.timestamp()
    fine = not reason
    set_condition(
        new,
        "NamesAccepted",
        "True" if fine else "False",
        reason or "NoConflicts",
        message or "no conflicts found",
        now,
    )
    if fine and not established:
        why = "the initial names have been accepted"
        set_condition(new, "Established", "True", "InitialNamesAccepted", why, now)
    elif not established:
        set_condition(new, "Established", "False", "NotAccepted", "not all names are accepted", now)
    if same(new["status"], status):
        return False
    store_object(api, endpoint, new)
    # Names that are given up may be what another CRD waits for.
    for other in _crds(api, group):
        meta = other["metadata"]
        if meta["name"] != crd["metadata"]["name"] and "deletionTimestamp" not in meta:
            _accept_names(api, endpoint, _typed(endpoint, other))
    return True


_SINGLE = (
    ("plural", "PluralConflict", True),
    ("singular", "SingularConflict", True),
    ("shortNames", "ShortNamesConflict", True),
    ("kind", "KindConflict", False),
    ("listKind", "ListKindConflict", False),
)


def _judge(
    wanted: Mapping[str, Any], accepted: Mapping[str, Any], crds: list[Obj]
) -> tuple[dict[str, Any], str, str]:
    """(names that are accepted, the last conflict's reason, its message)."""
    resources: set[str] = set()
    kinds: set[str] = set()
    for crd in crds:
        taken = (crd.get("status") or {}).get("acceptedNames") or {}
        resources.update(
            (taken.get("plural", ""), taken.get("singular", ""), *(taken.get("shortNames") or ()))
        )
        kinds.update((taken.get("kind", ""), taken.get("listKind", "")))
    out = dict(accepted)
    out.setdefault("plural", "")
    out.setdefault("kind", "")
    reason = message = ""
    for key, conflict, of_resources in _SINGLE:
        used = resources if of_resources else kinds
        if key == "shortNames":
            own = set(accepted.get(key) or ())
            clashes = [n for n in wanted.get(key) or () if n not in own and n in used]
        else:
            name = wanted.get(key, "")
            clashes = [name] if name != accepted.get(key, "") and name in used else []
        if clashes:
            texts = [f'"{name}" is already in use' for name in clashes]
            reason = conflict
            message = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
        elif wanted.get(key):
            out[key] = wanted[key]
        elif key not in ("plural", "kind"):
            out.pop(key, None)
    if wanted.get("categories"):
        out["categories"] = wanted["categories"]
    else:
        out.pop("categories", None)
    return out, reason, message


# -- serving


def _sync_apiservices(api: Api, group: str) -> None:
    """Have an APIService for every version of a group that is served, and for no other."""
    served: set[str] = set()
    known: set[str] = set()
    for crd in _crds(api, group):
        for version in crd["spec"].get("versions") or ():
            known.add(version["name"])
            if version.get("served") and any(
                c["type"] == "Established" and c["status"] == "True"
                for c in (crd.get("status") or {}).get("conditions") or ()
            ):
                served.add(version["name"])
    for stored in api.store.state.list(apiservices.APISERVICES):
        version, _, of = stored.name.partition(".")
        if of == group and version not in served:
            known.add(version)
    for version in sorted(served):
        apiservices.ensure(api, group, version)
    for version in sorted(known - served):
        apiservices.remove(api, group, version)


# -- the end


def _finalize(api: Api, endpoint: Endpoint, name: str) -> None:
    """Delete all instances of a CRD; without any left, the CRD itself."""
    stored = api.store.state.get(CRDS, "", name)
    if stored is None:
        return
    crd = endpoint.load(stored.data)
    status = crd.get("status") or {}
    if not any(
        c["type"] == "Established" and c["status"] == "True" for c in status.get("conditions") or ()
    ):
        _finish(api, endpoint, crd, "NeverEstablished", "resource was never established")
        return
    storage = f"{crd['spec']['names']['plural']}.{crd['spec']['group']}"
    instances = api.registry.custom.endpoint_of(api, storage)
    if instances is not None:
        for item in api.store.state.list(storage):
            obj = instances.load(item.data)
            meta = obj["metadata"] = dict(obj["metadata"])
            if not meta.get("finalizers"):
                remove(api, instances, obj)
            elif "deletionTimestamp" not in meta:
                meta["deletionTimestamp"] = api.timestamp()
                meta["deletionGracePeriodSeconds"] = 0
                meta["generation"] = meta.get("generation", 1) + 1
                store_object(api, instances, obj)
    stored = api.store.state.get(CRDS, "", name)
    if stored is None:
        # The last instance took it along.
        return
    crd = endpoint.load(stored.data)
    if not api.store.state.count(storage):
        _finish(api, endpoint, crd, "InstanceDeletionCompleted", "removed all instances")
        return
    reason = "InstanceDeletionInProgress"
    conditions = (crd.get("status") or {}).get("conditions") or ()
    if any(c["type"] == "Terminating" and c["reason"] == reason for c in conditions):
        return
    crd["metadata"] = dict(crd["metadata"])
    message = "CustomResource deletion is in progress"
    set_condition(crd, "Terminating", "True", reason, message, api.timestamp())
    store_object(api, endpoint, crd)


def _finish(api: Api, endpoint: Endpoint, crd: Obj, reason: str, message: str) -> None:
    """Take the cleanup finalizer away, which is usually the end."""
    crd = {**crd, "metadata": dict(crd["metadata"]), "status": dict(crd.get("status") or {})}
    meta = crd["metadata"]
    left = [f for f in meta.get("finalizers", ()) if f != CLEANUP]
    set_condition(crd, "Terminating", "False", reason, message, api.timestamp())
    if left:
        meta["finalizers"] = left
        store_object(api, endpoint, crd)
        return
    meta.pop("finalizers", None)
    remove(api, endpoint, crd)
