"""CustomResourceDefinitions of entities.

Versions of one kind are classes of their own with the same group and kind; they stand in the
definition as Kubernetes ranks them, the first is the one that is stored unless another is
marked.  What the API server would refuse is refused here, by the same checks, and told by the
field of the class it comes from.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cove.kube.field_errors import FieldError
from cove.kube.gvk import version_priority
from cove.operator.entities import Entity, EntityInfo, info
from cove.operator.errors import EntityError, SchemaError
from cove.operator.schema._builder import Builder, Found

__all__ = ["crd", "crds"]

Doc = dict[str, Any]


def crds(entities: Iterable[type[Entity]]) -> list[Doc]:
    """The definitions of all kinds among entities, by name; those of others are left out."""
    kinds: dict[tuple[str, str], list[type[Entity]]] = {}
    for cls in entities:
        known = info(cls)
        if known.ignore or known.builtin:
            continue
        of_kind = kinds.setdefault((known.group, known.kind), [])
        if cls not in of_kind:
            of_kind.append(cls)
    return sorted(
        (crd(*of_kind) for of_kind in kinds.values()), key=lambda d: str(d["metadata"]["name"])
    )


def crd(*entities: type[Entity], conversion: Mapping[str, Any] | None = None) -> Doc:
    """The definition of one kind, of all of its versions.

    ``conversion`` is the clientConfig of a webhook that converts between versions; without
    one, versions differ in nothing that has to be converted.

    Raises EntityError for classes that do not belong together, and SchemaError with the field's
    path for what Kubernetes would not take.
    """
    versions = _ranked(entities)
    known = [info(cls) for cls in versions]
    stored = _stored(versions)
    first = known[0]
    names: Doc = {
        "kind": first.kind,
        "listKind": f"{first.kind}List",
        "plural": first.plural,
        "singular": first.singular,
    }
    for key, values in (
        ("shortNames", [n for k in known for n in k.short_names]),
        ("categories", [n for k in known for n in k.categories]),
    ):
        if values:
            names[key] = list(dict.fromkeys(values))
    spec: Doc = {
        "group": first.group,
        "names": names,
        "scope": first.scope,
        "versions": [_version(cls, storage=cls is stored) for cls in versions],
    }
    if conversion is not None:
        webhook = {"clientConfig": dict(conversion), "conversionReviewVersions": ["v1"]}
        spec["conversion"] = {"strategy": "Webhook", "webhook": webhook}
    out: Doc = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": first.crd_name},
        "spec": spec,
    }
    _check(out, versions)
    return out


def _ranked(entities: Sequence[type[Entity]]) -> list[type[Entity]]:
    """The versions of a kind, best first; EntityError where they are not of one kind."""
    if not entities:
        raise EntityError("there are no entities to define")
    out = sorted(entities, key=lambda cls: version_priority(info(cls).version))
    first = out[0]
    seen: dict[str, type[Entity]] = {}
    for cls in out:
        known, other = info(cls), info(first)
        if known.builtin:
            raise EntityError(f"{_name(cls)}: {known} is built in")
        for key in ("group", "kind", "plural", "singular", "scope"):
            one, two = getattr(other, key), getattr(known, key)
            if one != two:
                raise EntityError(
                    f"{_name(first)} and {_name(cls)} are not of one kind: {key} {one!r} and {two!r}"
                )
        twin = seen.setdefault(known.version, cls)
        if twin is not cls:
            raise EntityError(f"{_name(twin)} and {_name(cls)} are both version {known.version}")
    return out


def _stored(versions: Sequence[type[Entity]]) -> type[Entity]:
    marked = [cls for cls in versions if info(cls).storage]
    if len(marked) > 1:
        names = " and ".join(f"{_name(cls)} ({info(cls).version})" for cls in marked)
        raise EntityError(f"{names} are both marked as the version that is stored")
    return marked[0] if marked else versions[0]


def _name(cls: type) -> str:
    return cls.__qualname__


def _version(cls: type[Entity], *, storage: bool) -> Doc:
    known = info(cls)
    builder = Builder()
    schema = builder.schema(cls, "")
    out: Doc = {"name": known.version, "served": known.served, "storage": storage}
    if known.deprecated is not None:
        out["deprecated"] = True
        if known.deprecated:
            out["deprecationWarning"] = known.deprecated
    out["schema"] = {"openAPIV3Schema": schema}
    subresources: Doc = {"status": {}} if known.has_status else {}
    if known.scale is not None:
        subresources["scale"] = _scale(known, schema)
    if subresources:
        out["subresources"] = subresources
    if known.selectable:
        out["selectableFields"] = [{"jsonPath": _json_path(p)} for p in known.selectable]
    columns = [_column(found) for found in builder.columns]
    columns += [_column(Found(column, "", {})) for column in known.columns]
    if columns:
        out["additionalPrinterColumns"] = columns
    return out


def _json_path(path: str) -> str:
    return path if path.startswith(".") else f".{path}"


def _scale(known: EntityInfo, schema: Doc) -> Doc:
    assert known.scale is not None
    out: Doc = {}
    for key, path, kind in (
        ("specReplicasPath", known.scale.spec, "integer"),
        ("statusReplicasPath", known.scale.status, "integer"),
        ("labelSelectorPath", known.scale.selector, "string"),
    ):
        if not path:
            continue
        found: Any = schema
        for name in path.strip(".").split("."):
            found = (found.get("properties") or {}).get(name)
            if found is None:
                raise SchemaError(path.strip("."), f"scale: {known.kind} has no such field")
        if found.get("type") != kind:
            raise SchemaError(path.strip("."), f"scale: is no {kind}")
        out[key] = _json_path(path)
    return out


def _column(found: Found) -> Doc:
    column, schema = found.column, found.schema
    path = column.json_path or found.path
    if not path:
        raise SchemaError("", f"column {column.name!r}: says no json_path")
    kind = column.type or ("string" if column.json_path else _column_type(schema))
    out: Doc = {"name": column.name, "type": kind, "jsonPath": _json_path(path)}
    described = column.description or schema.get("description")
    for key, value in (
        ("format", column.format),
        ("priority", column.priority),
        ("description", described),
    ):
        if value:
            out[key] = value
    return out


def _column_type(schema: Doc) -> str:
    kind = schema.get("type")
    if kind == "string" and schema.get("format") == "date-time":
        return "date"
    return kind if kind in ("integer", "number", "boolean") else "string"


def _check(doc: Doc, versions: Sequence[type[Entity]]) -> None:
    """What the API server would say, told by the fields of the classes."""
    from cove.kube.kinds.apiextensions import CustomResourceDefinition

    tried = copy.deepcopy(doc)
    judge = CustomResourceDefinition()
    judge.default(tried)
    judge.prepare_create(tried)
    faults = [_translated(e, versions) for e in judge.validate_create(tried)]
    if faults:
        path, problem = faults[0]
        more = [f"{p}: {what}" if p else what for p, what in dict.fromkeys(faults[1:])]
        raise SchemaError(path, "\n".join([problem, *more]))


_PLACE = re.compile(
    r"spec\.(?:validation|versions\[(\d+)\]\.schema)\.openAPIV3Schema(?P<way>(?:\.properties\[[^]]+\]|\.items"
    r"|\.additionalProperties)*)\.?(?P<rest>.*)"
)
_STEP = re.compile(r"\.properties\[([^]]+)\]|\.(items|additionalProperties)")
_COMPILATION = re.compile(r"(?s).*?((?:message\w+ )?compilation failed: .*)")


def _translated(error: FieldError, versions: Sequence[type[Entity]]) -> tuple[str, str]:
    """A fault of a definition as (the field's path, what is wrong there)."""
    match = _PLACE.fullmatch(error.field)
    text = error.text
    if compiled := _COMPILATION.fullmatch(text):
        text = compiled[1]
    if match is None:
        return error.field, text
    path = ""
    for name, container in _STEP.findall(match["way"]):
        path += "[*]" if container else f".{name}" if path else name
    version = f" (version {info(versions[int(match[1])]).version})" if match[1] else ""
    what = _WHAT.sub("", match["rest"])
    return path, f"{what}: {text}{version}" if what else f"{text}{version}"


_WHAT = re.compile(r"^x-kubernetes-(?=validations)")
