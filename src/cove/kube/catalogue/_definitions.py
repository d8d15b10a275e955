"""Schemas of the OpenAPI documents: definitions of the built-in types and of custom kinds.

Made from the catalogue's files, not from nodes, since they say what the API's own
document says and no more (a list without a list type stays without).  Descriptions are
not part of cove; where the package kubernetes-validate is installed they are taken from
there, so that ``kubectl explain`` has something to tell.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

from cove.kube.catalogue._load import definition_group, definitions, leaf_name, prefix
from cove.kube.catalogue._resources import groups, versions

__all__ = ["CustomKind", "Definitions", "OpenAPIVersion", "definition_name", "described"]

OpenAPIVersion = Literal[2, 3]
_REF = {2: "#/definitions/", 3: "#/components/schemas/"}
_RELEASE = "v1.36.0-local"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."

_SCALARS: dict[str, dict[str, Any]] = {
    "s": {"type": "string"},
    "i": {"type": "integer", "format": "int32"},
    "l": {"type": "integer", "format": "int64"},
    "f": {"type": "number", "format": "double"},
    "b": {"type": "boolean"},
    "y": {"type": "string", "format": "byte"},
}
_LEAVES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "q": ({"type": "string"}, {"oneOf": [{"type": "string"}, {"type": "number"}]}),
    "o": (
        {"type": "string", "format": "int-or-string"},
        {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    ),
    "t": ({"type": "string", "format": "date-time"},) * 2,
    "T": ({"type": "string", "format": "date-time"},) * 2,
    "xF": ({"type": "object"},) * 2,
    "xR": ({"type": "object"},) * 2,
    "xJ": ({}, {}),
    "xA": ({}, {}),
    "xB": ({}, {}),
    "xS": ({}, {}),
}


@dataclass(frozen=True, slots=True)
class CustomKind:
    """One version of a custom resource, as the OpenAPI documents need it.

    ``schema`` is its openAPIV3Schema or None; ``subresources`` names "status" and "scale"
    where it has them.
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    schema: Mapping[str, Any] | None = None
    subresources: tuple[str, ...] = ()
    list_kind: str = ""
    verbs: tuple[str, ...] = field(
        default=("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
    )


def definition_name(group: str, version: str, kind: str) -> str:
    """A custom kind's definition: ``com.example.stable.v1.Widget`` for ``stable.example.com``."""
    return ".".join([*reversed(group.split(".")), version, kind])


def described() -> Mapping[str, Any]:
    """Definitions with descriptions, from the package that has them; empty without it."""
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or spec.origin is None:
        return {}
    path = Path(spec.origin).parent / "kubernetes-json-schema" / _RELEASE / "_definitions.json"
    if not path.exists():
        return {}
    found: dict[str, Any] = orjson.loads(path.read_bytes())["$defs"]
    return found


class Definitions:
    """The definitions of one document, grown by what is asked of it.

    ``out`` maps names to schemas; asking for a kind adds all it is made of.
    """

    def __init__(self, version: OpenAPIVersion, texts: Mapping[str, Any]) -> None:
        self.version = version
        self.ref = _REF[version]
        self.out: dict[str, Any] = {}
        self._texts = texts
        self._files: dict[str, dict[str, Any]] = {}

    def reference(self, name: str) -> dict[str, Any]:
        """``{"$ref": …}`` to a definition by its full name."""
        return {"$ref": self.ref + name}

    def package(self, stem: str) -> None:
        """All definitions of a package."""
        for name in self._file(stem):
            self.built_in(stem, name)

    def built_in(self, stem: str, name: str) -> str:
        """One definition and all it refers to; its full name."""
        full = f"{prefix(stem)}.{name}"
        if full in self.out:
            return full
        entry = self._file(stem)[name]
        doc: dict[str, Any] = {"type": "object"}
        self.out[full] = doc
        texts = self._texts.get(full, {})
        if "description" in texts:
            doc["description"] = texts["description"]
        fields = texts.get("properties", {})
        properties = {
            row[0]: self._property(stem, row, fields.get(row[0], {}).get("description"))
            for row in sorted(entry["f"])
        }
        if properties:
            doc["properties"] = properties
        required = sorted(row[0] for row in entry["f"] if row[2].endswith("!"))
        if required:
            doc["required"] = required
        kinds = list(_kinds(stem, name, definition_group(entry)))
        if kinds:
            doc["x-kubernetes-group-version-kind"] = kinds
        if "t" in entry:
            doc["x-kubernetes-map-type"] = entry["t"]
        if "u" in entry:
            doc["x-kubernetes-unions"] = entry["u"]
        return full

    def _file(self, stem: str) -> dict[str, Any]:
        if stem not in self._files:
            self._files[stem] = definitions(stem)
        return self._files[stem]

    def _property(self, stem: str, row: list[Any], text: str | None) -> dict[str, Any]:
        more: dict[str, Any] = row[4] if len(row) > 4 else {}
        schema = self._type(stem, row[1])
        beside: dict[str, Any] = {}
        if text:
            beside["description"] = text
        if self.version == 3 and "d" in more:
            beside["default"] = more["d"]
        for letter, key in (
            ("k", "x-kubernetes-list-map-keys"),
            ("l", "x-kubernetes-list-type"),
            ("t", "x-kubernetes-map-type"),
            ("m", "x-kubernetes-patch-merge-key"),
            ("s", "x-kubernetes-patch-strategy"),
        ):
            if letter in more:
                beside[key] = more[letter]
        if self.version == 3 and "$ref" in schema and beside:
            schema = {"allOf": [schema]}
        schema.update(beside)
        return schema

    def _type(self, stem: str, letters: str) -> dict[str, Any]:
        if letters.startswith("[]"):
            return {"type": "array", "items": self._type(stem, letters[2:])}
        if letters.startswith("{}"):
            return {"type": "object", "additionalProperties": self._type(stem, letters[2:])}
        if letters[0] == "@":
            package, _, name = letters[1:].rpartition(":")
            return self.reference(self.built_in(package or stem, name))
        if letters in _SCALARS:
            return dict(_SCALARS[letters])
        name = leaf_name(letters)
        if name not in self.out:
            self.out[name] = self._leaf(name, letters)
        return self.reference(name)

    def _leaf(self, name: str, letters: str) -> dict[str, Any]:
        doc = dict(_LEAVES[letters][self.version - 2])
        text = self._texts.get(name, {}).get("description")
        if text:
            doc["description"] = text
        return doc

    def patch(self) -> str:
        """The definition of a patch's body."""
        name = META + "Patch"
        self.out.setdefault(name, {"type": "object"})
        return name

    def custom(self, kind: CustomKind) -> tuple[str, str]:
        """The definitions of a custom kind and of its list; their names."""
        name = definition_name(kind.group, kind.version, kind.kind)
        list_kind = kind.list_kind or kind.kind + "List"
        list_name = definition_name(kind.group, kind.version, list_kind)
        if name in self.out:
            return name, list_name
        schema = dict(kind.schema or {"x-kubernetes-preserve-unknown-fields": True})
        if self.version == 2:
            schema = _without_v3(schema)
        schema.setdefault("type", "object")
        meta = self.reference(self.built_in("meta.v1", "ObjectMeta"))
        schema["properties"] = {
            **schema.get("properties", {}),
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": meta,
        }
        schema["x-kubernetes-group-version-kind"] = [_gvk(kind.group, kind.version, kind.kind)]
        self.out[name] = schema
        self.out[list_name] = {
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"},
                "items": {"type": "array", "items": self.reference(name)},
                "kind": {"type": "string"},
                "metadata": self.reference(self.built_in("meta.v1", "ListMeta")),
            },
            "x-kubernetes-group-version-kind": [_gvk(kind.group, kind.version, list_kind)],
        }
        return name, list_name


def _gvk(group: str, version: str, kind: str) -> dict[str, str]:
    return {"group": group, "kind": kind, "version": version}


def _kinds(stem: str, name: str, group: str | None) -> Iterator[dict[str, str]]:
    """The kinds a definition is; DeleteOptions and WatchEvent are one of every group."""
    if group == "*":
        for g in groups():
            for version in versions(g):
                yield _gvk(g, version, name)
    elif group is not None:
        yield _gvk(group, stem.rpartition(".")[2], name)


# What Swagger 2 has no words for.
_V3_ONLY = ("default", "anyOf", "allOf", "oneOf", "not", "nullable")


def _without_v3(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A custom resource's schema as far as Swagger 2 can tell it; old clients read no more."""
    out = {k: v for k, v in schema.items() if k not in _V3_ONLY}
    if schema.get("nullable") or schema.get("x-kubernetes-preserve-unknown-fields"):
        # These clients would take null, or fields without a type, for mistakes.
        for key in ("properties", "items", "additionalProperties"):
            out.pop(key, None)
        if schema.get("nullable") or schema.get("type") != "object":
            out.pop("type", None)
        return out
    if schema.get("x-kubernetes-int-or-string"):
        out.pop("type", None)
    if "properties" in out:
        out["properties"] = {k: _without_v3(v) for k, v in out["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(out.get(key), Mapping):
            out[key] = _without_v3(out[key])
    return out
