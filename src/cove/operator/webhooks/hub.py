"""Versions of a kind, converted through one of them, the hub.

Every other version, a spoke, says how it becomes the hub's and comes from it, so that with any
number of versions nobody writes conversions between all of them.  Conversions are pure.

What is kept: metadata stays as it is, byte for byte, but for labels and annotations, which a
conversion may change, as the API server allows.  What a type does not know is not converted: a
field of ``spec`` that only the document has is lost on the way through the types.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from cove.operator.entities import Entity, ObjectMeta, from_document, info, to_document
from cove.operator.entities._changes import difference
from cove.operator.errors import EntityError
from cove.operator.webhooks.declarations import ConverterSpec
from cove.operator.webhooks.errors import ConversionError, RoundTripError
from cove.operator.webhooks.review import conversion_answer, read_conversion

if TYPE_CHECKING:
    from cove.operator.operator import Operator

__all__ = ["Conversion", "check_round_trip", "conversions"]

Doc = dict[str, Any]
log = logging.getLogger("cove.operator.webhooks")
# So many objects are converted before others get a turn.
_AT_A_TIME = 50


class Conversion:
    """The versions of one kind."""

    def __init__(self, specs: Iterable[ConverterSpec]) -> None:
        chosen = list(specs)
        self.hub = chosen[0].hub
        self._spokes = {info(spec.spoke).api_version: spec for spec in chosen}
        self._classes: dict[str, type[Entity]] = {
            info(self.hub).api_version: self.hub,
            **{version: spec.spoke for version, spec in self._spokes.items()},
        }

    @property
    def path(self) -> str:
        """Where it is asked: ``/convert/caches.cache.example.com``."""
        return f"/convert/{info(self.hub).crd_name}"

    @property
    def versions(self) -> tuple[str, ...]:
        """The apiVersions it converts between, the hub's first."""
        return tuple(self._classes)

    async def __call__(self, data: bytes) -> bytes:
        """The answer to a review; raises BadReviewError for what is none."""
        request = read_conversion(data)
        out: list[Doc] = []
        try:
            for index, doc in enumerate(request.objects):
                if index % _AT_A_TIME == _AT_A_TIME - 1:
                    await asyncio.sleep(0)
                out.append(self.convert(doc, request.api_version))
        except ConversionError as e:
            log.warning("%s", e, exc_info=e.__cause__)
            return conversion_answer(request.uid, [], str(e))
        return conversion_answer(request.uid, out)

    def convert(self, doc: Mapping[str, Any], api_version: str) -> Doc:
        """A document in another version; raises ConversionError that names it."""
        has = str(doc.get("apiVersion", ""))
        if has == api_version:
            return dict(doc)
        try:
            return self._convert(doc, has, api_version)
        except Exception as e:
            # Whatever a conversion of the operator's raises is about this object.
            why = str(e) if isinstance(e, ConversionError) else f"{type(e).__name__}: {e}"
            raise ConversionError(f"{_name(doc)}: {has} → {api_version}: {why}") from e

    def _convert(self, doc: Mapping[str, Any], has: str, wants: str) -> Doc:
        for version in (has, wants):
            if version not in self._classes:
                known = ", ".join(self._classes)
                raise ConversionError(f'nobody converts "{version}", only {known}')
        obj: Entity = from_document(self._classes[has], doc)
        if has in self._spokes:
            obj = _result(self._spokes[has].to_hub(obj), self.hub, doc, obj)
        if wants in self._spokes:
            obj = _result(self._spokes[wants].from_hub(obj), self._classes[wants], doc, obj)
        out = to_document(obj)
        out["metadata"] = _metadata(doc.get("metadata") or {}, obj.metadata)
        return out


def _result(made: Any, cls: type[Entity], doc: Mapping[str, Any], source: Entity) -> Entity:
    if not isinstance(made, cls):
        raise ConversionError(f"the conversion gave a {type(made).__name__}, not a {cls.__name__}")
    if made.metadata == ObjectMeta():
        # It says nothing of metadata: then it is what it was.
        made.metadata = source.metadata
    return made


def _metadata(raw: Mapping[str, Any], now: ObjectMeta) -> Doc:
    """The metadata it had, with the labels and annotations it has now."""
    out = dict(raw)
    for key, value in (("labels", now.labels), ("annotations", now.annotations)):
        if value == (raw.get(key) or {}):
            continue
        if value:
            out[key] = value
        else:
            out.pop(key, None)
    return out


def _name(doc: Mapping[str, Any]) -> str:
    metadata = doc.get("metadata") or {}
    name = metadata.get("name") or f"{metadata.get('generateName') or ''}…"
    namespace = metadata.get("namespace")
    return f"{doc.get('kind')} {namespace}/{name}" if namespace else f"{doc.get('kind')} {name}"


def conversions(specs: Iterable[ConverterSpec]) -> list[Conversion]:
    """The kinds that are converted."""
    kinds: dict[type[Entity], list[ConverterSpec]] = {}
    for spec in specs:
        kinds.setdefault(spec.hub, []).append(spec)
    return [Conversion(found) for found in kinds.values()]


def check_round_trip(operator: Operator, *objects: Entity) -> None:
    """Convert objects to every other version and back; for tests.

    Raises RoundTripError if one is another then, telling what was lost where, and
    ConversionError if one cannot be converted.
    """
    found = conversions(operator.converters)
    for obj in objects:
        wanted = info(obj)
        kind = next((c for c in found if wanted.api_version in c.versions), None)
        if kind is None or info(kind.hub).kind != wanted.kind:
            raise EntityError(f"{wanted} has no converter: op.convert(…)")
        doc = to_document(obj)
        for version in kind.versions:
            back = kind.convert(kind.convert(doc, version), wanted.api_version)
            lost = difference(back, doc)
            if lost:
                where = ", ".join(f"{op['op']} {op['path']}" for op in lost)
                raise RoundTripError(
                    f"{_name(doc)}: {wanted.api_version} → {version} → {wanted.api_version} "
                    f"is another object; to have it back: {where}",
                    lost,
                )
