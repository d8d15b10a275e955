"""managedFields between an object and its scale subresource.

A Scale shows only who owns the replicas, under its own version and path; what a write
to it did to that ownership is carried back into the object's entries.

Source: ``k8s.io/apimachinery/pkg/util/managedfields/scalehandler.go``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cove.kube.apply._managed import Entry, Managed, decode_entries, encode_entries
from cove.kube.apply.fieldset import LEAF, FieldSet, FieldSetError, difference, has

__all__ = ["parent_entries", "scale_entries"]

Paths = Mapping[str, tuple[str, ...] | None]

_SCALE_VERSION = "autoscaling/v1"
_REPLICAS = ("f:spec", "f:replicas")


def _single(path: tuple[str, ...]) -> FieldSet:
    one: FieldSet = LEAF
    for key in reversed(path):
        one = {key: one}
    return one


def _decoded(documents: list[Any] | None) -> Managed:
    try:
        return decode_entries(documents or [])
    except FieldSetError:
        return {}


def _elements(path: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("f:" + name for name in path)


def scale_entries(documents: list[Any] | None, paths: Paths) -> list[dict[str, Any]]:
    """The entries of a Scale: of those of its object that own the replicas.

    ``paths`` gives per apiVersion of the object where they are (``("spec", "replicas")``),
    None for a version without scale.
    """
    out: Managed = {}
    for identity, entry in _decoded(documents).items():
        path = paths.get(entry.api_version)
        if path and has(entry.fields, _elements(path)):
            # The identity keeps the object's version: it finds its entry again by it.
            out[identity] = Entry(_single(_REPLICAS), _SCALE_VERSION, entry.time)
    return encode_entries(out)


def parent_entries(
    documents: list[Any] | None,
    scale: list[Any] | None,
    paths: Paths,
    api_version: str,
) -> list[dict[str, Any]]:
    """The object's entries after a write to its Scale left ``scale`` as the Scale's entries.

    Who lost the replicas there loses them here; new owners get an entry at ``api_version``.
    """
    owners = {
        (i.manager, i.operation, i.subresource): (i, e)
        for i, e in _decoded(scale).items()
        if has(e.fields, _REPLICAS)
    }
    out: Managed = {}
    for identity, entry in _decoded(documents).items():
        if entry.api_version not in paths:
            continue
        path = paths[entry.api_version]
        if path is None or not has(entry.fields, _elements(path)):
            out[identity] = entry
            continue
        if owners.pop((identity.manager, identity.operation, identity.subresource), None):
            out[identity] = entry
            continue
        rest = difference(entry.fields, _single(_elements(path)))
        if rest:
            out[identity] = Entry(rest, entry.api_version, entry.time)
    path = paths.get(api_version)
    if path:
        for identity, entry in owners.values():
            version = "" if identity.operation == "Apply" else api_version
            out[identity._replace(api_version=version)] = Entry(
                _single(_elements(path)), api_version, entry.time
            )
    return encode_entries(out)
