"""Make the catalogue's schema files from the API's JSON schema and our own facts.

    python scripts/generate_catalogue.py

Reads the definitions of Kubernetes 1.36 that the development dependency
kubernetes-validate carries, and ``catalogue_facts.json`` beside this script (how Go
encodes each field, what error messages call its type).  Writes one small file per
API package to ``src/cove/kube/catalogue/data/schemas``; descriptions are left out.
:mod:`cove.kube.catalogue._load` reads them and says what the letters mean.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

RELEASE = "v1.36.0-local"
HERE = Path(__file__).parent
OUT = HERE.parent / "src" / "cove" / "kube" / "catalogue" / "data" / "schemas"

APIMACHINERY = "io.k8s.apimachinery.pkg."
PREFIXES = {
    "meta.v1": APIMACHINERY + "apis.meta.v1",
    "version": APIMACHINERY + "version",
    "apiextensions.v1": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
    "apiregistration.v1": "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1",
}
APIEXTENSIONS = PREFIXES["apiextensions.v1"]

# Definitions that are a leaf of their own kind instead of what their schema says.
LEAVES = {
    APIMACHINERY + "api.resource.Quantity": "q",
    APIMACHINERY + "apis.meta.v1.Time": "t",
    APIMACHINERY + "apis.meta.v1.MicroTime": "T",
    APIMACHINERY + "apis.meta.v1.FieldsV1": "xF",
    APIMACHINERY + "runtime.RawExtension": "xR",
    APIMACHINERY + "util.intstr.IntOrString": "o",
    APIEXTENSIONS + ".JSON": "xJ",
    APIEXTENSIONS + ".JSONSchemaPropsOrArray": "xA",
    APIEXTENSIONS + ".JSONSchemaPropsOrBool": "xB",
    APIEXTENSIONS + ".JSONSchemaPropsOrStringArray": "xS",
}
SCALARS = {"string": "s", "boolean": "b", "number": "f"}


def prefix_of(stem: str) -> str:
    return PREFIXES.get(stem, f"io.k8s.api.{stem}")


def definitions() -> dict[str, Any]:
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or spec.origin is None:
        sys.exit("kubernetes-validate is not installed: pip install -e '.[dev]'")
    folder = Path(spec.origin).parent / "kubernetes-json-schema" / RELEASE
    found: dict[str, Any] = json.loads((folder / "_definitions.json").read_bytes())["$defs"]
    return found


def plain_type(schema: dict[str, Any]) -> str:
    """The JSON type; the source adds null to what may be left out."""
    found = schema.get("type", "")
    if isinstance(found, list):
        return str(next(t for t in found if t != "null"))
    return str(found)


class Package:
    """One API package: what its file holds."""

    def __init__(self, stem: str, facts: dict[str, Any], defs: dict[str, Any]) -> None:
        self.stem = stem
        self.prefix = prefix_of(stem)
        self.types: dict[str, dict[str, str]] = facts["types"][stem]
        self.defaults: dict[str, dict[str, Any]] = facts["defaults"].get(stem, {})
        self.defs = defs

    def type_of(self, schema: dict[str, Any]) -> str:
        """The type as letters: ``s``, ``[]s``, ``{}q``, ``@PodSpec``, ``@meta.v1:ObjectMeta``."""
        if "$ref" in schema:
            target = str(schema["$ref"]).rsplit("/", 1)[1]
            if target in LEAVES:
                return LEAVES[target]
            package, name = target.rsplit(".", 1)
            if package == self.prefix:
                return "@" + name
            stem = next((s for s, p in PREFIXES.items() if p == package), "")
            return f"@{stem or package.removeprefix('io.k8s.api.')}:{name}"
        kind = plain_type(schema)
        if kind == "array":
            return "[]" + self.type_of(schema["items"])
        if kind == "object":
            if "additionalProperties" in schema:
                return "{}" + self.type_of(schema["additionalProperties"])
            return "x"
        if kind == "integer":
            return "i" if schema.get("format") == "int32" else "l"
        if kind == "string" and schema.get("format") == "byte":
            return "y"
        return SCALARS[kind]

    def field(self, owner: str, name: str, schema: dict[str, Any], required: bool) -> list[Any]:
        """[name, type, how it is encoded, Go type, and what else there is to say]."""
        emit, go_type = self.types[owner][name].split(" ", 1)
        more: dict[str, Any] = {}
        for key, letter in (
            ("x-kubernetes-list-type", "l"),
            ("x-kubernetes-list-map-keys", "k"),
            ("x-kubernetes-map-type", "t"),
            ("x-kubernetes-patch-merge-key", "m"),
            ("x-kubernetes-patch-strategy", "s"),
        ):
            if key in schema:
                more[letter] = schema[key]
        if name in self.defaults.get(owner, {}):
            more["d"] = self.defaults[owner][name]
        row = [name, self.type_of(schema), emit + ("!" if required else ""), go_type]
        return [*row, more] if more else row

    def document(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, order in self.types.items():
            schema = self.defs[f"{self.prefix}.{name}"]
            required = set(schema.get("required", ()))
            known = schema.get("properties", {})
            if set(order) != set(known):
                sys.exit(f"{self.stem}.{name}: facts and schema differ: {set(order) ^ set(known)}")
            entry: dict[str, Any] = {
                "f": [self.field(name, f, known[f], f in required) for f in order]
            }
            if schema.get("x-kubernetes-map-type") == "atomic":
                entry["t"] = "atomic"
            if "x-kubernetes-unions" in schema:
                entry["u"] = schema["x-kubernetes-unions"]
            groups = schema.get("x-kubernetes-group-version-kind", ())
            if groups and len(groups) > 1:
                # DeleteOptions and WatchEvent: a kind of every group.
                entry["g"] = "*"
            elif groups:
                entry["g"] = groups[0]["group"]
            out[name] = entry
        return out


def main() -> None:
    defs = definitions()
    facts = json.loads((HERE / "catalogue_facts.json").read_bytes())
    OUT.mkdir(parents=True, exist_ok=True)
    total = 0
    for stem in facts["types"]:
        document = Package(stem, facts, defs).document()
        lines = [
            f"{json.dumps(n)}:{json.dumps(e, separators=(',', ':'))}" for n, e in document.items()
        ]
        text = "{" + ",\n".join(lines) + "}\n"
        (OUT / f"{stem}.json").write_text(text)
        total += len(text)
    print(f"{len(facts['types'])} packages, {total} bytes in {OUT}")


if __name__ == "__main__":
    main()
