"""A CRD's spec in upstream's internal form, which its errors speak of.

What all versions have in common stands once at the top there: the schema of a CRD with
one version is ``spec.validation``, not ``spec.versions[0].schema``.

Source: ``pkg/apis/apiextensions/v1/conversion.go``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cove.kube.field_errors import FieldError
from cove.kube.structural import same

__all__ = ["go_invalid", "go_json", "go_versions", "internal"]

# internal name → name in a version
_SHARED = {
    "subresources": "subresources",
    "validation": "schema",
    "additionalPrinterColumns": "additionalPrinterColumns",
    "selectableFields": "selectableFields",
}


def internal(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The internal form; ``versions`` keep what they do not share."""
    out = dict(spec)
    versions = [dict(v) for v in spec.get("versions") or ()]
    out["versions"] = versions
    if not versions:
        return out
    out["version"] = versions[0].get("name") or ""
    for top, name in _SHARED.items():
        first = versions[0].get(name)
        if all(same(v.get(name), first) for v in versions):
            if first is not None:
                out[top] = first
            for version in versions:
                version.pop(name, None)
    return out


def go_json(value: Any) -> str:
    """JSON as Go writes it: HTML's characters escaped."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def go_invalid(field: str, value: Any, detail: str) -> FieldError:
    """An invalid value that is a Go struct."""
    return FieldError("FieldValueInvalid", field, f"Invalid value: {go_json(value)}: {detail}")


def go_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A validation rule as Go's struct has it."""
    return {
        "Rule": rule.get("rule", ""),
        "Message": rule.get("message", ""),
        "MessageExpression": rule.get("messageExpression", ""),
        "Reason": rule.get("reason"),
        "FieldPath": rule.get("fieldPath", ""),
        "OptionalOldSelf": rule.get("optionalOldSelf"),
    }


def go_versions(versions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]] | None:
    """The versions as Go's structs have them; null for none."""
    out = []
    for v in versions:
        schema = v.get("schema")
        out.append(
            {
                "Name": v.get("name", ""),
                "Served": bool(v.get("served")),
                "Storage": bool(v.get("storage")),
                "Deprecated": bool(v.get("deprecated")),
                "DeprecationWarning": v.get("deprecationWarning"),
                "Schema": None
                if schema is None
                else {"OpenAPIV3Schema": _schema(schema.get("openAPIV3Schema"))},
                "Subresources": _subresources(v.get("subresources")),
                "AdditionalPrinterColumns": _columns(v.get("additionalPrinterColumns")),
                "SelectableFields": [
                    {"JSONPath": f.get("jsonPath", "")} for f in v.get("selectableFields") or ()
                ]
                or None,
            }
        )
    return out


def _subresources(doc: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if doc is None:
        return None
    scale = doc.get("scale")
    return {
        "Status": None if doc.get("status") is None else {},
        "Scale": None
        if scale is None
        else {
            "SpecReplicasPath": scale.get("specReplicasPath", ""),
            "StatusReplicasPath": scale.get("statusReplicasPath", ""),
            "LabelSelectorPath": scale.get("labelSelectorPath"),
        },
    }


def _columns(docs: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]] | None:
    if not docs:
        return None
    return [
        {
            "Name": c.get("name", ""),
            "Type": c.get("type", ""),
            "Format": c.get("format", ""),
            "Description": c.get("description", ""),
            "Priority": c.get("priority", 0),
            "JSONPath": c.get("jsonPath", ""),
        }
        for c in docs
    ]


# JSONSchemaProps as Go declares it: (Go's name, JSON's name, zero value).
_PROPS: tuple[tuple[str, str, Any], ...] = (
    ("ID", "id", ""),
    ("Schema", "$schema", ""),
    ("Ref", "$ref", None),
    ("Description", "description", ""),
    ("Type", "type", ""),
    ("Nullable", "nullable", False),
    ("Format", "format", ""),
    ("Title", "title", ""),
    ("Default", "default", None),
    ("Maximum", "maximum", None),
    ("ExclusiveMaximum", "exclusiveMaximum", False),
    ("Minimum", "minimum", None),
    ("ExclusiveMinimum", "exclusiveMinimum", False),
    ("MaxLength", "maxLength", None),
    ("MinLength", "minLength", None),
    ("Pattern", "pattern", ""),
    ("MaxItems", "maxItems", None),
    ("MinItems", "minItems", None),
    ("UniqueItems", "uniqueItems", False),
    ("MultipleOf", "multipleOf", None),
    ("Enum", "enum", None),
    ("MaxProperties", "maxProperties", None),
    ("MinProperties", "minProperties", None),
    ("Required", "required", None),
    ("Items", "items", None),
    ("AllOf", "allOf", None),
    ("OneOf", "oneOf", None),
    ("AnyOf", "anyOf", None),
    ("Not", "not", None),
    ("Properties", "properties", None),
    ("AdditionalProperties", "additionalProperties", None),
    ("PatternProperties", "patternProperties", None),
    ("Dependencies", "dependencies", None),
    ("AdditionalItems", "additionalItems", None),
    ("Definitions", "definitions", None),
    ("ExternalDocs", "externalDocs", None),
    ("Example", "example", None),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields", None),
    ("XEmbeddedResource", "x-kubernetes-embedded-resource", False),
    ("XIntOrString", "x-kubernetes-int-or-string", False),
    ("XListMapKeys", "x-kubernetes-list-map-keys", None),
    ("XListType", "x-kubernetes-list-type", None),
    ("XMapType", "x-kubernetes-map-type", None),
    ("XValidations", "x-kubernetes-validations", None),
)


def go_schema(doc: Mapping[str, Any]) -> dict[str, Any]:
    """A schema as Go's struct has it."""
    out = _schema(doc)
    assert out is not None
    return out


def _schema(doc: Any) -> dict[str, Any] | None:
    if not isinstance(doc, Mapping):
        return None
    out: dict[str, Any] = {}
    for name, key, zero in _PROPS:
        value = doc.get(key)
        if value is None:
            out[name] = zero
        elif key == "items":
            many = isinstance(value, list)
            out[name] = {
                "Schema": None if many else _schema(value),
                "JSONSchemas": [_schema(v) for v in value] if many else None,
            }
        elif key in ("allOf", "oneOf", "anyOf"):
            out[name] = [_schema(v) for v in value]
        elif key == "not":
            out[name] = _schema(value)
        elif key in ("properties", "patternProperties", "definitions"):
            out[name] = {k: _schema(value[k]) for k in sorted(value)}
        elif key in ("additionalProperties", "additionalItems"):
            is_schema = isinstance(value, Mapping)
            out[name] = {
                "Allows": True if is_schema else value,
                "Schema": _schema(value) if is_schema else None,
            }
        elif key == "x-kubernetes-validations":
            out[name] = [go_rule(r) for r in value]
        else:
            out[name] = value
    return out


__all__ += ["go_rule", "go_schema"]
