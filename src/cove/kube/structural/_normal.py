"""Pruning, null removal, embedded metadata and defaulting in one walk.

What the API server does with a custom resource between reading and validating it, in
the order of upstream's passes (``pkg/apiserver/schema/{pruning,defaulting,objectmeta}``):
unknown fields go, nulls that are neither allowed nor defaulted go, missing fields get
their defaults.  The walk shares everything it leaves alone with its input and copies
only what it changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cove.kube.structural._schema import META_FIELDS, Schema

__all__ = ["EmbeddedMetadataError", "normalize", "unknown_fields"]

# A value in normal form; the list grows by one entry per field that had to go.
Walk = Callable[[Any, list[None]], Any]
_MISSING: Any = object()
# Whole numbers above this are kept as floats: Go's int64 cannot hold them either.
_INTEGER_LIMIT = 2.0**63


class EmbeddedMetadataError(ValueError):
    """Metadata of an embedded resource that cannot be read as such; the text is upstream's."""


def normalize(
    schema: Schema, obj: dict[str, Any], *, fill: bool = True
) -> tuple[dict[str, Any], bool]:
    """A custom resource in normal form, and whether unknown fields were dropped.

    ``fill`` False leaves defaults out: what conversion to another version does.

    The result is a new dict if anything changed, else ``obj`` itself.  ``apiVersion``,
    ``kind`` and ``metadata`` at the top are left alone: they are not the schema's.

    Raises EmbeddedMetadataError.
    """
    key = "normal/root" if fill else "prune/root"
    walk = schema.cache.get(key)
    if walk is None:
        walk = schema.cache[key] = _object(schema, root=True, keep=schema.preserve, fill=fill)
    dropped: list[None] = []
    found: dict[str, Any] = walk(obj, dropped)
    return found, bool(dropped)


def _walk(schema: Schema | None, keep: bool, fill: bool) -> Walk:
    """``keep``: inside a list whose parent keeps unknown fields."""
    if schema is None:
        return _keep_all if keep else _drop_all
    key = ("normal" if fill else "prune") + ("/keep" if keep else "")
    found: Walk | None = schema.cache.get(key)
    if found is None:
        found = schema.cache[key] = _value(schema, keep or schema.preserve, fill)
    return found


def _keep_all(value: Any, dropped: list[None]) -> Any:
    kind = value.__class__
    if kind is float:
        return _number(value)
    return value


def _drop_all(value: Any, dropped: list[None]) -> Any:
    """A value the schema does not describe: objects lose every field, scalars stay."""
    if value.__class__ is dict:
        if value:
            dropped.extend([None] * len(value))
            return {}
        return value
    if value.__class__ is list:
        return [_drop_all(v, dropped) for v in value]
    return _keep_all(value, dropped)


def _number(value: float) -> int | float:
    """Go writes whole floats as integers."""
    return int(value) if value.is_integer() and abs(value) < _INTEGER_LIMIT else value


def _value(schema: Schema, keep: bool, fill: bool) -> Walk:
    as_object = _object(schema, root=False, keep=keep, fill=fill)
    as_list = _list(schema, keep, fill)
    is_number = schema.type == "number"

    def walk(value: Any, dropped: list[None]) -> Any:
        kind = value.__class__
        if kind is dict:
            return as_object(value, dropped)
        if kind is list:
            return as_list(value, dropped)
        if kind is float and not is_number:
            return _number(value)
        return value

    return walk


def _list(schema: Schema, keep: bool, fill: bool) -> Walk:
    items = schema.items
    inner: Walk | None = None

    def walk(value: Any, dropped: list[None]) -> Any:
        nonlocal inner
        if inner is None:
            inner = _walk(items, keep, fill)
        out: list[Any] | None = None
        for index, old in enumerate(value):
            if old is None and items is not None and not items.nullable:
                new = _default(items) if items.has_default and fill else None
            else:
                new = inner(old, dropped)
            if new is not old:
                if out is None:
                    out = list(value)
                out[index] = new
        return value if out is None else out

    return walk


def _default(schema: Schema) -> Any:
    """The default with the defaults inside it; shared, nobody changes documents in depth."""
    found = schema.cache.get("default", _MISSING)
    if found is _MISSING:
        found = schema.cache["default"] = _walk(schema, True, True)(schema.default, [])
    return found


def _object(schema: Schema, *, root: bool, keep: bool, fill: bool) -> Walk:
    properties = schema.properties
    additional = schema.additional
    values = schema.values
    is_resource = root or schema.embedded
    embedded = schema.embedded and not root
    # Compiled when first used: schemas are large and mostly unused.
    walks: dict[str, Walk] = {}
    defaults = [(name, s) for name, s in properties.items() if fill and s.has_default]

    def walk(value: Any, dropped: list[None]) -> Any:
        out: dict[str, Any] | None = None
        for name, old in value.items():
            if is_resource and name in META_FIELDS:
                if embedded and name == "metadata":
                    new = _metadata(old, dropped)
                    if new is not old:
                        if out is None:
                            out = dict(value)
                        out[name] = new
                continue
            inner = properties.get(name)
            if inner is None:
                if additional is None:
                    if keep:
                        if old.__class__ is float:
                            if out is None:
                                out = dict(value)
                            out[name] = _number(old)
                        continue
                    if not (root and name in META_FIELDS):
                        dropped.append(None)
                    if out is None:
                        out = dict(value)
                    del out[name]
                    continue
                inner = values
            if old is None and inner is not None and not inner.nullable:
                if inner.has_default:
                    new = _default(inner) if fill else None
                else:
                    if out is None:
                        out = dict(value)
                    del out[name]
                    continue
            elif inner is values:
                new = _walk(inner, False, fill)(old, dropped)
            else:
                step = walks.get(name)
                if step is None:
                    step = walks[name] = _walk(inner, False, fill)
                new = step(old, dropped)
            if new is not old:
                if out is None:
                    out = dict(value)
                out[name] = new
        for name, inner in defaults:
            if name not in value and not (is_resource and name in META_FIELDS):
                if out is None:
                    out = dict(value)
                out[name] = _default(inner)
        return value if out is None else out

    return walk


def _metadata(value: Any, dropped: list[None]) -> Any:
    from cove.kube.catalogue._compile import MismatchError, compiled

    unknown: list[str] = []
    try:
        found = compiled(_object_meta())(value if value is not None else {}, unknown)
    except MismatchError:
        from cove.kube.catalogue._explain import JSONWalk, RejectedError

        try:
            JSONWalk().run(value, _object_meta(), "v1.ObjectMeta")
        except RejectedError as error:
            raise EmbeddedMetadataError(str(error)) from None
        raise
    dropped.extend([None] * len(unknown))
    found = {k: v for k, v in found.items() if not (k == "creationTimestamp" and v is None)}
    return value if found == value else found


def _object_meta() -> Any:
    from cove.kube import catalogue

    node = catalogue.schema("", "v1", "ConfigMap")
    return node.fields["metadata"].node


# -- telling what was dropped


def unknown_fields(schema: Schema, obj: dict[str, Any]) -> list[str]:
    """The paths of the fields that :func:`normalize` drops: ``spec.list[0].x``, sorted.

    Those of embedded metadata come last, sorted among themselves.
    """
    out: list[str] = []
    embedded: list[str] = []
    _unknown(schema, obj, "", True, schema.preserve, out, embedded)
    return sorted(out) + sorted(embedded)


def _unknown(
    schema: Schema | None,
    value: Any,
    path: str,
    root: bool,
    keep: bool,
    out: list[str],
    embedded: list[str],
) -> None:
    if isinstance(value, dict):
        dot = f"{path}." if path else ""
        resource = root or (schema is not None and schema.embedded)
        for name, inner in value.items():
            here = dot + name
            if resource and name in META_FIELDS:
                if not root and name == "metadata":
                    embedded += _unknown_metadata(inner, here)
                continue
            known = schema.properties.get(name) if schema is not None else None
            if known is not None:
                _unknown(known, inner, here, False, known.preserve, out, embedded)
            elif schema is not None and schema.additional is not None:
                values = schema.values
                keeps = values is not None and values.preserve
                _unknown(values, inner, here, False, keeps, out, embedded)
            elif not keep:
                out.append(here)
    elif isinstance(value, list):
        items = schema.items if schema is not None else None
        keeps = keep or (items is not None and items.preserve)
        for index, inner in enumerate(value):
            _unknown(items, inner, f"{path}[{index}]", False, keeps, out, embedded)


def _unknown_metadata(value: Any, path: str) -> list[str]:
    from cove.kube.catalogue._explain import JSONWalk, RejectedError

    walk = JSONWalk()
    try:
        walk.run(value, _object_meta(), "v1.ObjectMeta")
    except RejectedError:
        return []
    quoted = [p.partition('unknown field "') for p in walk.problems]
    return [f"{path}.{rest.removesuffix(chr(34))}" for _, found, rest in quoted if found]
