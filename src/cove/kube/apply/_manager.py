"""Field management of one write: who owns what afterwards, and whether that is a conflict.

Source: ``k8s.io/apimachinery/pkg/util/managedfields`` and
``sigs.k8s.io/structured-merge-diff/v6/merge/update.go``;
https://kubernetes.io/docs/reference/using-api/server-side-apply/.
"""

from __future__ import annotations

from typing import Any

from cove.kube.apply._context import Context
from cove.kube.apply._errors import ApplyConflictError, ApplyError
from cove.kube.apply._last_applied import beyond_last_applied, renew_last_applied
from cove.kube.apply._managed import (
    Entry,
    Managed,
    ManagerId,
    cap,
    decode_entries,
    encode_entries,
    identify,
    trusted_entries,
)
from cove.kube.apply._typed import merge, named_fields, remove, type_errors
from cove.kube.apply._walk import ListKeyError, empty_object, walker
from cove.kube.apply.fieldset import (
    LEAF,
    FieldSet,
    FieldSetError,
    difference,
    intersection,
    iterate,
    recursive_difference,
    union,
)
from cove.kube.schema import Node
from cove.kube.status import bad_request

__all__ = [
    "apply",
    "keep_timestamps",
    "update_managed_fields",
]

Obj = dict[str, Any]

# What nobody owns: identity and bookkeeping.
_META = (
    "f:name",
    "f:namespace",
    "f:creationTimestamp",
    "f:selfLink",
    "f:uid",
    "f:clusterName",
    "f:generation",
    "f:managedFields",
    "f:resourceVersion",
)
_STRIP: FieldSet = {
    "f:apiVersion": LEAF,
    "f:kind": LEAF,
    "f:metadata": {".": LEAF, **dict.fromkeys(_META, LEAF)},
}
_CURRENT = ManagerId("", "Update", "", "")


def _compare(ctx: Context, old: Obj, new: Obj) -> tuple[FieldSet, FieldSet]:
    changed, removed = walker(ctx.schema).compare(old, new) if old != new else (None, None)
    return _filtered(ctx, ctx.api_version, changed, removed)


def _filtered(
    ctx: Context, version: str, changed: FieldSet | None, removed: FieldSet | None
) -> tuple[FieldSet, FieldSet]:
    changed, removed = changed or LEAF, removed or LEAF
    ignored = ctx.ignored(version)
    if ignored:
        changed = recursive_difference(changed, ignored)
        removed = recursive_difference(removed, ignored)
    return changed, removed


def _strip(fields: FieldSet) -> FieldSet:
    return difference(fields, _STRIP)


def _taken(
    ctx: Context, old: Obj, new: Obj, managed: Managed, self_id: ManagerId
) -> tuple[Managed, list[tuple[ManagerId, FieldSet]], FieldSet]:
    """Others without what this change takes from them, what that is, and what changed at all."""
    changed, removed = _compare(ctx, old, new)
    versions: dict[str, tuple[FieldSet, FieldSet] | None] = {ctx.api_version: (changed, removed)}
    out: Managed = {}
    conflicts: list[tuple[ManagerId, FieldSet]] = []
    for identity, entry in managed.items():
        if identity == self_id:
            out[identity] = entry
            continue
        version = entry.api_version
        if version not in versions:
            versions[version] = _compare_at(ctx, old, new, version)
        sets = versions[version]
        if sets is None:
            continue
        c, r = sets
        fields = entry.fields
        taken = intersection(fields, c) if c else LEAF
        if taken:
            conflicts.append((identity, taken))
            fields = difference(fields, taken)
        if r:
            fields = difference(fields, r)
        if fields is entry.fields or fields == entry.fields:
            out[identity] = entry
        elif fields:
            out[identity] = Entry(fields, version, entry.time)
    return out, conflicts, changed


def _compare_at(ctx: Context, old: Obj, new: Obj, version: str) -> tuple[FieldSet, FieldSet] | None:
    node = ctx.node(version)
    if node is None:
        return None
    before, after = ctx.at(old, version), ctx.at(new, version)
    pair = walker(node).compare(before, after) if before != after else (None, None)
    return _filtered(ctx, version, *pair)


def _metadata(obj: Obj) -> Obj:
    found: Obj | None = obj.get("metadata")
    if found is None:
        found = obj["metadata"] = {}
    return found


def _live_entries(live: Obj | None) -> Managed:
    if live is None:
        return {}
    documents = (live.get("metadata") or {}).get("managedFields")
    if not documents:
        return {}
    try:
        return trusted_entries(documents)
    except (KeyError, TypeError):
        return {}


def _current_entries(live: Obj | None, given: Any, ctx: Context) -> Managed:
    """The entries a write starts from: the live ones, unless the client set others.

    An empty list, or a list of one empty entry, clears them; unreadable ones are ignored.
    """
    if given is None or ctx.subresource:
        return _live_entries(live)
    if live is not None:
        stored = (live.get("metadata") or {}).get("managedFields")
        if given is stored or (given and given == stored):
            return _live_entries(live)
    if not given or (len(given) == 1 and not any(given[0].values())):
        return {}
    try:
        return decode_entries(given) or _live_entries(live)
    except FieldSetError:
        return _live_entries(live)


def update_managed_fields(live: Obj | None, new: Obj, ctx: Context) -> None:
    """Set ``new``'s managedFields after a create, update or patch (not an apply), in place.

    ``live`` is the object before the write, None for a create.  Where nothing changed,
    managers and their times stay; where nothing was tracked before, nothing is.
    """
    meta = _metadata(new)
    given = meta.pop("managedFields", None)
    managed = _current_entries(live, given, ctx)
    if live is not None and not managed:
        return
    if live is None:
        live = _empty(ctx)
    try:
        managed = _update(live, new, ctx, managed, ctx.manager)
    except (ListKeyError, AttributeError, TypeError, KeyError):
        # The document does not fit its type: better the old owners than none.
        before = (live.get("metadata") or {}).get("managedFields")
        if before:
            meta["managedFields"] = before
        return
    if managed:
        meta["managedFields"] = encode_entries(managed)


def _empty(ctx: Context) -> Obj:
    return {} if ctx.custom else empty_object(ctx.schema)


def _update(live: Obj, new: Obj, ctx: Context, managed: Managed, manager: str) -> Managed:
    if managed:
        managed = _reconciled(ctx, managed)
        managed, _, changed = _taken(ctx, live, new, managed, _CURRENT)
    else:
        changed, _ = _compare(ctx, live, new)
    own = _strip(changed)
    if own:
        identity = identify(manager, "Update", ctx.api_version, ctx.subresource)
        previous = managed.get(identity)
        fields = union(own, previous.fields) if previous else own
        managed[identity] = Entry(fields, ctx.api_version, ctx.now)
    return cap(managed)


def _reconciled(ctx: Context, managed: Managed) -> Managed:
    """Entries of versions still served, with sets below what has become atomic drawn together."""
    if not ctx.custom:
        return managed
    out: Managed = {}
    for identity, entry in managed.items():
        node = ctx.node(entry.api_version)
        fields = entry.fields if node is None else _drawn(entry.fields, node)
        out[identity] = (
            entry if fields is entry.fields else Entry(fields, entry.api_version, entry.time)
        )
    return out


def _drawn(fields: FieldSet, node: Node) -> FieldSet:
    """Fields below an atomic value become that value."""
    out = fields
    for key, below in fields.items():
        if not below:
            continue
        if key.startswith("f:"):
            field = node.fields.get(key[2:])
            child = field.node if field else node.items if node.type == "map" else None
        else:
            child = node.items
        if child is None or child.type == "any":
            continue
        drawn = LEAF if walker(child).leaf else _drawn(below, child)
        if drawn is not below:
            if out is fields:
                out = dict(fields)
            out[key] = drawn
    return out


def apply(live: Obj | None, config: Obj, ctx: Context, *, force: bool = False) -> Obj:
    """The object after server-side apply of ``config``, with its managedFields.

    ``live`` is None for an apply that creates; neither argument is changed.  The result
    still has to be defaulted and validated; if the configuration changes nothing, it is
    equal to ``live``.  Raises ApplyConflictError (409) unless ``force``, ApplyError (500)
    for a configuration that does not fit the type, StatusError (400) for one that holds
    managedFields or another version.
    """
    version = config.get("apiVersion") or ""
    if version != ctx.api_version:
        raise bad_request(
            "Incorrect version specified in apply patch. "
            f"Specified patch version: {version}, expected: {ctx.api_version}"
        )
    if _told_metadata(config).get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    wrong = type_errors(config, ctx.schema)
    if wrong:
        raise ApplyError(f"failed to create typed patch object ({_describe(config)}): {wrong}")
    before = live if live is not None else {}
    try:
        result = _apply_as_manager(before, config, ctx, force)
    except ListKeyError as e:
        wrong = type_errors(before, ctx.schema) or str(e)
        raise ApplyError(
            f"failed to create typed live object ({_describe(before)}): {wrong}"
        ) from e
    return renew_last_applied(result, config) if ctx.manager == "kubectl" else result


def _apply_as_manager(live: Obj, config: Obj, ctx: Context, force: bool) -> Obj:
    managed = _live_entries(live)
    if not managed and live:
        # What was there before anything was tracked belongs to somebody as well.
        managed = _update(_empty(ctx), live, ctx, {}, "before-first-apply")
    try:
        return _apply(live, config, ctx, managed, force)
    except ApplyConflictError as conflict:
        if ctx.manager != "kubectl" or not live:
            raise
        rest = beyond_last_applied(conflict, live, ctx)
        if rest:
            raise ApplyConflictError(rest) from None
        return _apply(live, config, ctx, managed, True)


def _told_metadata(obj: Obj) -> Obj:
    """The metadata as far as it is one; a configuration may hold anything there."""
    meta = obj.get("metadata")
    return meta if isinstance(meta, dict) else {}


def _describe(obj: Obj) -> str:
    meta = _told_metadata(obj)
    group, _, version = (obj.get("apiVersion") or "").rpartition("/")
    return (
        f"{meta.get('namespace') or ''}/{meta.get('name') or ''}; "
        f"{group}/{version}, Kind={obj.get('kind') or ''}"
    )


def _apply(live: Obj, config: Obj, ctx: Context, managed: Managed, force: bool) -> Obj:
    managed = dict(_reconciled(ctx, managed))
    identity = identify(ctx.manager, "Apply", ctx.api_version, ctx.subresource)
    last = managed.get(identity)
    merged: Obj = merge(live, config, ctx.schema)
    own = walker(ctx.schema).own(config) or LEAF
    ignored = ctx.ignored(ctx.api_version)
    if ignored:
        own = recursive_difference(own, ignored)
    managed[identity] = Entry(own, ctx.api_version, last.time if last else None)
    stripped = _strip(own)
    if last is not None and _lets_go(ctx, managed, last, stripped):
        merged = _prune(merged, ctx, managed, last)
    managed, conflicts, _ = _taken(ctx, live, merged, managed, identity)
    if conflicts and not force:
        raise ApplyConflictError(
            [(who, path) for who, fields in conflicts for path in iterate(fields)]
        )
    own = stripped
    changed = merged != live
    if not own:
        managed.pop(identity, None)
    elif (
        last is not None
        and not changed
        and last.fields == own
        and last.api_version == ctx.api_version
    ):
        managed[identity] = last
    else:
        # An apply that changes nothing leaves the times alone: a new owner then has none.
        since = ctx.now if changed else last.time if last else None
        managed[identity] = Entry(own, ctx.api_version, since)
    out = dict(merged)
    meta = {k: v for k, v in (merged.get("metadata") or {}).items() if k != "managedFields"}
    if managed:
        meta["managedFields"] = encode_entries(managed)
    out["metadata"] = meta
    return out


def _lets_go(ctx: Context, managed: Managed, last: Entry, own: FieldSet) -> bool:
    """Whether something may have to be pruned: mostly a manager applies the same fields again."""
    if last.fields == own or not difference(last.fields, own):
        # Conversions may lose fields, which are then let go as well.
        return any(entry.api_version != ctx.api_version for entry in (last, *managed.values()))
    return True


def _prune(merged: Obj, ctx: Context, managed: Managed, last: Entry) -> Obj:
    """``merged`` without what this manager applied before, does not now, and nobody else owns."""
    version = last.api_version
    node = ctx.node(version)
    if node is None:
        return merged
    at_last: Obj = ctx.at(merged, version)
    pruned: Obj = remove(at_last, named_fields(last.fields, node), node) or {}
    owned: dict[str, FieldSet] = {}
    for entry in managed.values():
        owned[entry.api_version] = union(owned.get(entry.api_version, LEAF), entry.fields)
    # The version pruned at comes first: others may not convert without what it gives back.
    current, at = at_last, version
    for other in sorted(owned, key=lambda v: v != version):
        other_node = ctx.node(other)
        if other_node is None:
            continue
        if other != at:
            current, pruned = ctx.convert(current, other), ctx.convert(pruned, other)
            at = other
        pruned = _give_back(current, pruned, owned[other], other_node)
    if at != version:
        pruned = ctx.convert(pruned, version)
    held = named_fields(walker(node).own(at_last) or LEAF, node)
    left = named_fields(walker(node).own(pruned) or LEAF, node)
    gone = intersection(difference(held, left), named_fields(last.fields, node))
    result: Obj = (remove(at_last, gone, node) or {}) if gone else at_last
    if version != ctx.api_version:
        return ctx.convert(result, ctx.api_version)
    return result


def _give_back(merged: Obj, pruned: Obj, owned: FieldSet, node: Node) -> Obj:
    walk = walker(node)
    held = named_fields(walk.own(merged) or LEAF, node)
    left = named_fields(walk.own(pruned) or LEAF, node)
    gone = difference(held, union(left, named_fields(owned, node)))
    return (remove(merged, gone, node) or {}) if gone else merged


def keep_timestamps(old: Obj, new: Obj) -> None:
    """Put ``old``'s managedFields back into ``new`` if nothing but their times differs, in place.

    Called last before an object is stored, so that a write without effect stays one.
    """
    before = (old.get("metadata") or {}).get("managedFields")
    after = (new.get("metadata") or {}).get("managedFields")
    if not before or not after or before is after or len(before) != len(after):
        return
    for a, b in zip(before, after, strict=True):
        if a is not b and {**a, "time": None} != {**b, "time": None}:
            return
    meta = new["metadata"]
    if {**new, "metadata": None} != {**old, "metadata": None}:
        return
    if {**meta, "managedFields": None} == {**old["metadata"], "managedFields": None}:
        meta["managedFields"] = before
