"""From documents to typed objects and back.

A document is what the API speaks: plain dictionaries with camelCase names.  What a type does
not know is passed over when it is read (:mod:`changes` keeps it when an
object is written back).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from cove.operator.entities._entity import Entity
from cove.operator.entities._faults import Fault, without
from cove.operator.entities._hints import prepare, struct_fields
from cove.operator.entities._struct import Struct
from cove.operator.entities._values import decode_value, encode_value
from cove.operator.errors import DocumentError

__all__ = ["from_document", "from_json", "json_value", "to_document", "whole_document"]

Doc = dict[str, Any]
S = TypeVar("S", bound=Struct)


def to_document(obj: Struct) -> Doc:
    """The document of an object, or of a part of one; a new one, nothing is shared.

    ``None`` and empty lists and maps are left out.
    """
    return _document(obj, tidy=True)


def whole_document(obj: Struct) -> Doc:
    """The same with ``{}`` for the structs of built-in kinds that say nothing."""
    return _document(obj, tidy=False)


def _document(obj: Struct, *, tidy: bool) -> Doc:
    plan = prepare(type(obj))
    doc: Doc = _plain(obj, durations=plan.durations, sets=plan.sets)
    if plan.objects or (tidy and plan.parts):
        _finish(obj, doc, tidy)
    if isinstance(obj, Entity):
        _name_kind(obj, doc)
    return doc


def _name_kind(obj: Entity, doc: Doc) -> None:
    if obj.kind:
        rest = dict(doc)
        doc.clear()
        doc.update({"apiVersion": obj.api_version, "kind": obj.kind, **rest})


def _finish(value: Any, doc: Any, tidy: bool) -> None:
    """Let objects inside say what they are; take away what Go would write although it is empty."""
    if isinstance(value, Struct):
        for name, wire, by_value in struct_fields(type(value)):
            inner = doc.get(wire)
            field = getattr(value, name)
            if inner:
                _finish(field, inner, tidy)
            if by_value and tidy and inner == {}:
                del doc[wire]
            elif isinstance(field, Entity):
                _name_kind(field, doc[wire])
    elif isinstance(value, (list, tuple)):
        for one, inner in zip(value, doc, strict=True):
            _finish(one, inner, tidy)
            if isinstance(one, Entity):
                _name_kind(one, inner)
    elif isinstance(value, dict):
        for key, one in value.items():
            _finish(one, doc[key], tidy)
            if isinstance(one, Entity):
                _name_kind(one, doc[key])


def json_value(value: Any) -> Any:
    """Any value as it stands in a document; TypeError for one that cannot."""
    if isinstance(value, Struct):
        return to_document(value)
    return _plain(value, durations=True, sets=True)


def _plain(value: Any, *, durations: bool, sets: bool) -> Any:
    found = msgspec.to_builtins(
        value,
        builtin_types=(timedelta,) if durations else (),
        order="deterministic" if sets else None,
        enc_hook=encode_value,
    )
    return _with_durations(found) if durations else found


def _with_durations(value: Any) -> Any:
    if value.__class__ is dict:
        return {k: _with_durations(v) for k, v in value.items()}
    if value.__class__ is list:
        return [_with_durations(v) for v in value]
    return encode_value(value) if isinstance(value, timedelta) else value


def from_document(cls: type[S], doc: Mapping[str, Any]) -> S:
    """The typed object of a document.

    Nothing is shared between the two.  A null where the type knows none counts as absent, as in
    Go.  Raises DocumentError, which
    names the field and what belongs there, for a document that does not fit, and for one of
    another kind.
    """
    prepare(cls)
    if issubclass(cls, Entity) and isinstance(doc, dict):
        _same_kind(cls, doc)
    try:
        return _read(cls, doc)
    except msgspec.ValidationError as error:
        first = error
    return _carefully(cls, doc, first)


def _read(cls: type[S], doc: Any) -> S:
    """Through JSON: it is as fast, and what a type leaves open is not shared with the document."""
    try:
        data = msgspec.json.encode(doc)
    except (TypeError, ValueError, OverflowError):
        return msgspec.convert(copy.deepcopy(doc), cls, dec_hook=decode_value)
    return msgspec.json.decode(data, type=cls, dec_hook=decode_value)


def _carefully(cls: type[S], doc: Any, error: msgspec.ValidationError) -> S:
    """Try again without the nulls that are in the way, as long as it is a null."""
    while True:
        fault = Fault.of(cls, doc, error)
        if not fault.is_null:
            raise fault.as_error(cls, doc) from error
        doc = without(doc, fault.keys)
        try:
            return _read(cls, doc)
        except msgspec.ValidationError as following:
            error = following


def from_json(cls: type[S], data: bytes | str) -> S:
    """The same from JSON text, without making a document first; faster for large objects.

    Raises DocumentError for what is no JSON, too.
    """
    prepare(cls)
    try:
        found = msgspec.json.decode(data, type=cls, dec_hook=decode_value)
    except msgspec.ValidationError:
        return from_document(cls, msgspec.json.decode(data))
    except msgspec.DecodeError as error:
        raise DocumentError(_kind(cls), "", "", f"expected JSON: {error}") from error
    return found


def _kind(cls: type) -> str:
    return str(getattr(cls, "kind", "") or cls.__name__)


def _same_kind(cls: type[Entity], doc: Mapping[str, Any]) -> None:
    """Items of a list do not say what they are; what does say it, says it right."""
    for key, own in (("kind", cls.kind), ("apiVersion", cls.api_version)):
        given = doc.get(key)
        if own and given is not None and given != own:
            raise DocumentError(_kind(cls), _name(doc), key, f"expected {own}", str(given))


def _name(doc: Any) -> str:
    metadata = doc.get("metadata") if isinstance(doc, Mapping) else None
    if not isinstance(metadata, Mapping):
        return ""
    namespace, name = metadata.get("namespace"), metadata.get("name")
    return f"{namespace}/{name}" if namespace and name else str(name or "")
