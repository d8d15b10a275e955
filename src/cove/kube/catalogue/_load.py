"""The types of the built-in kinds, read package by package as they are asked for.

``data/schemas/<package>.json`` (made by ``scripts/generate_catalogue.py``) holds per
definition ``{"f": fields, "t": "atomic", "g": group of its kind, "u": unions}``.  A
field is ``[name, type, emit, Go type, more]``:

- type: ``s`` string, ``i`` ``l`` integers of 32 and 64 bits, ``f`` number, ``b``
  boolean, ``q`` quantity, ``t`` ``T`` time and micro-time, ``o`` int-or-string, ``y``
  bytes, ``x…`` any; ``[]`` and ``{}`` before the type of elements; ``@Name`` a
  definition of the same package, ``@package:Name`` of another;
- emit: ``z`` zero, ``a`` always, ``n`` always (a pointer), ``p`` set (a pointer), ``t``
  struct; with ``!`` where the field is required;
- more: ``l`` ``k`` list type and keys, ``t`` map type, ``m`` ``s`` patch merge key and
  strategies, ``d`` default.

A file is parsed anew for each kind that needs something of it and then forgotten:
the nodes are what stays.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import orjson

from cove.kube.catalogue._resources import DATA
from cove.kube.schema import Emit, Field, Node, NodeType

__all__ = ["definition_group", "definitions", "leaf_name", "prefix", "schema", "stem_of"]

_PREFIXES = {
    "meta.v1": "io.k8s.apimachinery.pkg.apis.meta.v1",
    "version": "io.k8s.apimachinery.pkg.version",
    "apiextensions.v1": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
    "apiregistration.v1": "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1",
}
_APIEXTENSIONS = _PREFIXES["apiextensions.v1"]
_EMIT: dict[str, tuple[Emit, bool]] = {
    "z": ("zero", False),
    "a": ("always", False),
    "n": ("always", True),
    "p": ("set", True),
    "t": ("struct", False),
}
_LEAVES: dict[str, tuple[NodeType, str, str]] = {
    "s": ("string", "", ""),
    "i": ("integer", "int32", ""),
    "l": ("integer", "int64", ""),
    "f": ("number", "double", ""),
    "b": ("boolean", "", ""),
    "y": ("bytes", "byte", ""),
    "q": ("quantity", "", "io.k8s.apimachinery.pkg.api.resource.Quantity"),
    "t": ("time", "", "io.k8s.apimachinery.pkg.apis.meta.v1.Time"),
    "T": ("micro-time", "", "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime"),
    "o": ("int-or-string", "", "io.k8s.apimachinery.pkg.util.intstr.IntOrString"),
    "xF": ("any", "", "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1"),
    "xR": ("any", "", "io.k8s.apimachinery.pkg.runtime.RawExtension"),
    "xJ": ("any", "", _APIEXTENSIONS + ".JSON"),
    "xA": ("any", "", _APIEXTENSIONS + ".JSONSchemaPropsOrArray"),
    "xB": ("any", "", _APIEXTENSIONS + ".JSONSchemaPropsOrBool"),
    "xS": ("any", "", _APIEXTENSIONS + ".JSONSchemaPropsOrStringArray"),
}
# What a key that Go always writes is when an element leaves it out.
_ZERO: dict[NodeType, Any] = {"string": "", "integer": 0, "boolean": False}

_nodes: dict[tuple[str, str], Node] = {}
_containers: dict[tuple[Any, ...], Node] = {}


def prefix(stem: str) -> str:
    """What comes before the definition names of a package: ``core.v1`` → ``io.k8s.api.core.v1``."""
    return _PREFIXES.get(stem) or f"io.k8s.api.{stem}"


_STEM = re.compile(r"[a-z0-9-]{1,100}\.[a-z0-9]{1,100}")


def stem_of(group: str, version: str) -> str:
    """The package of a group and version: ``rbac.authorization.k8s.io``, v1 → ``rbac.v1``."""
    return f"{group.split('.', 1)[0] if group else 'core'}.{version}"


def leaf_name(letters: str) -> str:
    """The definition's name of a leaf that has one (quantity, time, …), else ""."""
    return _LEAVES[letters][2]


def definitions(stem: str) -> dict[str, Any]:
    """The parsed file of a package; empty where there is none."""
    if not _STEM.fullmatch(stem):
        return {}  # clients write versions into managedFields as they like
    try:
        raw = (DATA / "schemas" / f"{stem}.json").read_bytes()
    except FileNotFoundError:
        return {}
    loaded: dict[str, Any] = orjson.loads(raw)
    return loaded


def definition_group(entry: dict[str, Any]) -> str | None:
    """The group whose kind a definition is; "*" for every group's, None for a part of others."""
    return entry.get("g")


@cache
def schema(group: str, version: str, kind: str) -> Node:
    """The type of a built-in kind, a list kind, a subresource's kind or a meta type.

    Nodes are shared: every Pod template of every kind has the one ``PodSpec`` node.
    DeleteOptions, WatchEvent and Status are found under every built-in group.
    Raises KeyError for what is not built in.
    """
    build = _Builder()
    stem = stem_of(group, version)
    entry = build.file(stem).get(kind)
    if entry is not None and definition_group(entry) == group:
        return build.finish(build.struct(stem, kind))
    entry = build.file("meta.v1").get(kind)
    if entry is not None and definition_group(entry) is not None:
        return build.finish(build.struct("meta.v1", kind))
    raise KeyError(f"{kind} is not a built-in kind of {group or 'the core group'}, {version}")


def _granular(node: Node) -> Node:
    """The same struct where its field says that others may own parts of it (a PV's claimRef)."""
    found: Node | None = node.cache.get("granular")
    if found is None:
        found = Node("struct", name=node.name, fields=node.fields)
        node.cache["granular"] = found
    return found


class _Builder:
    """One walk from a kind to all it is made of."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, Any]] = {}
        self.keyed: list[Node] = []

    def file(self, stem: str) -> dict[str, Any]:
        found = self.files.get(stem)
        if found is None:
            found = self.files[stem] = definitions(stem)
        return found

    def finish(self, node: Node) -> Node:
        """Key defaults, once all elements have their fields."""
        for keyed in self.keyed:
            element = keyed.items
            if element is None:
                continue
            for key in keyed.keys:
                field = element.fields.get(key)
                if field is None:
                    continue
                if field.default is not None:
                    keyed.key_defaults[key] = field.default
                elif field.emit == "always" and not field.pointer and field.node.type in _ZERO:
                    keyed.key_defaults[key] = _ZERO[field.node.type]
        return node

    def struct(self, stem: str, name: str) -> Node:
        node = _nodes.get((stem, name))
        if node is not None:
            return node
        entry = self.file(stem)[name]
        node = Node("struct", name=f"{prefix(stem)}.{name}", atomic="t" in entry)
        _nodes[stem, name] = node
        fields = node.fields
        for row in entry["f"]:
            field = self.field(stem, row)
            fields[field.name] = field
        return node

    def field(self, stem: str, row: list[Any]) -> Field:
        name, kind, emit, go_type = row[:4]
        more: dict[str, Any] = row[4] if len(row) > 4 else {}
        how, pointer = _EMIT[emit[0]]
        strategies = more.get("s")
        return Field(
            name,
            self.node(stem, kind, more),
            emit=how,
            required=emit[-1] == "!",
            default=more.get("d"),
            merge_key=more.get("m"),
            strategies=frozenset(strategies.split(",")) if strategies else frozenset(),
            go_type=go_type,
            pointer=pointer,
        )

    def node(self, stem: str, kind: str, more: dict[str, Any]) -> Node:
        if kind[0] == "@":
            package, _, name = kind[1:].rpartition(":")
            struct = self.struct(package or stem, name)
            if more.get("t") == "granular" and struct.atomic:
                return _granular(struct)
            return struct
        container: NodeType
        if kind.startswith("[]"):
            container = "list"
        elif kind.startswith("{}"):
            container = "map"
        else:
            return self.leaf(kind)
        items = self.node(stem, kind[2:], {})
        keys = tuple(more.get("k", ()))
        key = (container, id(items), more.get("l"), keys, more.get("t"))
        node = _containers.get(key)
        if node is None:
            node = _containers[key] = Node(
                container,
                items=items,
                list_type=more.get("l", "atomic"),
                keys=keys,
                atomic=more.get("t") == "atomic",
            )
            if keys:
                self.keyed.append(node)
        return node

    def leaf(self, letters: str) -> Node:
        node = _containers.get((letters,))
        if node is None:
            kind, format, name = _LEAVES[letters]
            node = _containers[letters,] = Node(kind, name=name, format=format)
            if letters in ("xA", "xB", "xS"):
                # A schema in place of the array or boolean: what the codec decodes it with.
                node.items = self.struct("apiextensions.v1", "JSONSchemaProps")
        return node
