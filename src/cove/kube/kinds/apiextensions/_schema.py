"""Validation of one openAPIV3Schema of a CRD: is it a schema, structural, with sane rules.

Source: ``pkg/apis/apiextensions/validation/validation.go``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cove.kube import field_errors as fe
from cove.kube.cel import SchemaContext
from cove.kube.field_errors import FieldError
from cove.kube.kinds.apiextensions._defaults import validate_defaults
from cove.kube.kinds.apiextensions._internal import go_invalid, go_rule, go_schema
from cove.kube.kinds.apiextensions._options import TYPES, Options, is_non_atomic_set, key_faults
from cove.kube.structural import FieldPathError, find_field, parse, validate_structural

__all__ = ["validate_schema"]

Errors = list[FieldError]
Document = Mapping[str, Any]

_AT_ROOT = (
    "Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength "
    "MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties "
    "ExternalDocs Example XPreserveUnknownFields XValidations"
)
_REASONS = (
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
)
_META = ("apiVersion", "kind", "metadata")
_NEWLINES = re.compile(r"[\n\r]+")


def validate_schema(
    validation: Document, has_status: bool, options: Options, path: str, errors: Errors
) -> None:
    """The faults of a version's (or the common) schema."""
    schema = validation.get("openAPIV3Schema")
    if not isinstance(schema, Mapping):
        return
    place = f"{path}.openAPIV3Schema"
    start = len(errors)
    if has_status:
        _root_fields(schema, path, errors)
    if schema.get("nullable"):
        errors.append(fe.forbidden(f"{place}.nullable", "nullable cannot be true at the root"))
    context: SchemaContext | None = None
    if options.require_structural and not _has_unreadable(schema):
        found = validate_structural(schema, place)
        if not found:
            root = parse(schema)
            found = validate_defaults(root, place, require_pruned=options.require_pruned_defaults)
            if not found:
                context = SchemaContext.root(root)
        errors += found
    walk = _Walk(options)
    structural, rules = walk.run(schema, place, _Scope(), context)
    errors += structural + rules
    if context is not None:
        errors += context.total.errors(place)
    if len(errors) == start:
        return


def _has_unreadable(schema: Document) -> bool:
    """Whether there is something that no structural schema can be made of; told elsewhere."""
    from cove.kube.kinds.apiextensions._warnings import every_schema

    forbidden = (
        "id",
        "additionalItems",
        "patternProperties",
        "definitions",
        "dependencies",
        "$ref",
    )
    return any(
        any(inner.get(key) for key in forbidden) or isinstance(inner.get("items"), list)
        for inner in every_schema(schema)
    )


def _root_fields(schema: Document, path: str, errors: Errors) -> None:
    """With a status subresource, the root says nothing that cannot be split off for status."""
    allowed = _AT_ROOT.split()
    for name, value in go_schema(schema).items():
        if value in (None, "", False) or value == [] or value == {}:
            continue
        if name == "Type":
            if value != "object":
                why = (
                    'only "object" is allowed as the type at the root of the schema if the status '
                    "subresource is enabled"
                )
                errors.append(fe.invalid(f"{path}.openAPIV3Schema.type", value, why))
                return
            continue
        if name not in allowed:
            why = (
                f"only [{' '.join(allowed)}] fields are allowed at the root of the schema if the "
                "status subresource is enabled"
            )
            errors.append(go_invalid(f"{path}.openAPIV3Schema", go_schema(schema), why))
            return


class _Scope:
    """Where the walk is: what defaults and transition rules may not do here."""

    __slots__ = ("in_meta", "no_defaults", "no_old_self")

    def __init__(
        self, in_meta: bool = False, no_defaults: str | None = None, no_old_self: str = ""
    ) -> None:
        self.in_meta = in_meta
        # Why defaults are forbidden, None where they are not.
        self.no_defaults = no_defaults
        # The first place on the way that makes old and new values incomparable.
        self.no_old_self = no_old_self

    def with_(
        self,
        *,
        in_meta: bool | None = None,
        no_defaults: str | None = None,
        no_old_self: str = "",
    ) -> _Scope:
        return _Scope(
            self.in_meta if in_meta is None else in_meta,
            self.no_defaults if no_defaults is None else no_defaults,
            self.no_old_self or no_old_self,
        )


class _Walk:
    """One walk over a schema; schema errors and errors of rules are kept apart."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def run(
        self,
        schema: Any,
        path: str,
        scope: _Scope,
        context: SchemaContext | None,
        *,
        root: bool = True,
    ) -> tuple[Errors, Errors]:
        """(errors of the schema, errors of its rules) at and below ``path``."""
        errors: Errors = []
        rules: Errors = []
        if not isinstance(schema, Mapping):
            return errors, rules
        self._standard(schema, path, scope, errors)
        if schema.get("uniqueItems"):
            why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
            errors.append(fe.forbidden(f"{path}.uniqueItems", why))

        def descend(inner: Any, place: str, inside: _Scope, child: SchemaContext | None) -> None:
            found = self.run(inner, place, inside, child, root=False)
            errors.extend(found[0])
            rules.extend(found[1])

        self._additional(schema, path, scope, context, errors, descend)
        resource = root or bool(schema.get("x-kubernetes-embedded-resource"))
        map_type = schema.get("x-kubernetes-map-type")
        for name, inner in (schema.get("properties") or {}).items():
            inside = scope
            if map_type not in (None, "granular", "atomic"):
                inside = inside.with_(no_old_self=path)
            if resource and name in _META:
                inside = inside.with_(in_meta=True)
                if root:
                    inside = inside.with_(no_defaults=f"in top-level {name}")
            child = None if context is None else context.property(name)
            descend(inner, f"{path}.properties[{name}]", inside, child)
        descend(schema.get("not"), f"{path}.not", scope, None)
        for key in ("allOf", "oneOf", "anyOf"):
            for index, inner in enumerate(schema.get(key) or ()):
                descend(inner, f"{path}.{key}[{index}]", scope, None)
        items = schema.get("items")
        if items is not None:
            inside = scope
            if schema.get("x-kubernetes-list-type") != "map":
                inside = inside.with_(no_old_self=path)
            child = None if context is None else context.items()
            if isinstance(items, list):
                for index, inner in enumerate(items):
                    descend(inner, f"{path}.items[{index}]", inside, None)
            else:
                descend(items, f"{path}.items", inside, child)
        self._lists(schema, path, errors)
        if self.options.require_map_keys:
            for below, why, missing in key_faults(schema):
                build = fe.required if missing else fe.forbidden
                errors.append(build(f"{path}.{below}", why))
        self._rules(schema, path, errors)
        if schema.get("x-kubernetes-validations") and not errors and context is not None:
            rules += self._compile(schema, path, scope, context)
        return errors, rules

    def _standard(self, schema: Document, path: str, scope: _Scope, errors: Errors) -> None:
        kind = schema.get("type") or ""
        if self.options.require_types and kind and kind not in TYPES:
            errors.append(fe.not_supported(f"{path}.type", kind, TYPES))
        if schema.get("default") is not None and scope.no_defaults is not None:
            why = f"must not be set {scope.no_defaults}".rstrip()
            errors.append(fe.forbidden(f"{path}.default", why))
        for key in ("id", "additionalItems", "patternProperties", "definitions", "dependencies"):
            if schema.get(key) not in (None, "", {}) or (
                key == "additionalItems" and schema.get(key) is not None
            ):
                errors.append(fe.forbidden(f"{path}.{key}", f"{key} is not supported"))
        if schema.get("$ref") is not None:
            errors.append(fe.forbidden(f"{path}.$ref", "$ref is not supported"))
        if kind == "null":
            why = "type cannot be set to null, use nullable as an alternative"
            errors.append(fe.forbidden(f"{path}.type", why))
        if isinstance(schema.get("items"), list) and schema["items"]:
            why = "items must be a schema object and not an array"
            errors.append(fe.forbidden(f"{path}.items", why))
        if scope.in_meta and schema.get("x-kubernetes-embedded-resource"):
            place = f"{path}.x-kubernetes-embedded-resource"
            errors.append(fe.forbidden(place, "must not be used inside of resource meta"))

    def _additional(
        self,
        schema: Document,
        path: str,
        scope: _Scope,
        context: SchemaContext | None,
        errors: Errors,
        descend: Any,
    ) -> None:
        additional = schema.get("additionalProperties")
        if additional is None:
            return
        place = f"{path}.additionalProperties"
        if schema.get("properties") and additional is not True:
            why = "additionalProperties and properties are mutual exclusive"
            errors.append(fe.forbidden(place, why))
        inside = scope
        if scope.in_meta:
            inside = scope.with_(
                no_defaults="inside additionalProperties applying to object metadata"
            )
        child = None if context is None else context.values()
        descend(additional, place, inside, child)

    def _lists(self, schema: Document, path: str, errors: Errors) -> None:
        kind = schema.get("type") or ""
        if schema.get("x-kubernetes-preserve-unknown-fields") is False:
            place = f"{path}.x-kubernetes-preserve-unknown-fields"
            errors.append(fe.invalid(place, False, "must be true or undefined"))
        map_type = schema.get("x-kubernetes-map-type")
        if map_type is not None:
            if kind != "object":
                self._typed(
                    path, kind, "must be object if x-kubernetes-map-type is specified", errors
                )
            if map_type not in ("atomic", "granular"):
                place = f"{path}.x-kubernetes-map-type"
                errors.append(fe.not_supported(place, map_type, ("atomic", "granular")))
        list_type = schema.get("x-kubernetes-list-type")
        items = schema.get("items")
        if list_type is not None and kind != "array":
            self._typed(path, kind, "must be array if x-kubernetes-list-type is specified", errors)
        elif self.options.require_atomic_sets and is_non_atomic_set(schema):
            is_list = items["type"] == "array"  # type: ignore[index]  # is_non_atomic_set saw it
            key = "x-kubernetes-list-type" if is_list else "x-kubernetes-map-type"
            why = "must be atomic as item of a list with x-kubernetes-list-type=set"
            given = (items or {}).get("x-kubernetes-list-type")
            errors.append(fe.invalid(f"{path}.items.{key}", given, why))
        if list_type is not None and list_type not in ("atomic", "set", "map"):
            place = f"{path}.x-kubernetes-list-type"
            errors.append(fe.not_supported(place, list_type, ("atomic", "set", "map")))
        keys = schema.get("x-kubernetes-list-map-keys") or []
        if keys and list_type != "map":
            why = "must be map if x-kubernetes-list-map-keys is non-empty"
            place = f"{path}.x-kubernetes-list-type"
            errors.append(
                fe.required(place, why) if list_type is None else fe.invalid(place, list_type, why)
            )
        if list_type == "map":
            self._map_keys(keys, items, path, errors)

    @staticmethod
    def _typed(path: str, kind: str, why: str, errors: Errors) -> None:
        place = f"{path}.type"
        errors.append(fe.invalid(place, kind, why) if kind else fe.required(place, why))

    @staticmethod
    def _map_keys(keys: list[str], items: Any, path: str, errors: Errors) -> None:
        place = f"{path}.x-kubernetes-list-map-keys"
        if not keys:
            why = "must not be empty if x-kubernetes-list-type is map"
            errors.append(fe.required(place, why))
        if items is None:
            why = "must have a schema if x-kubernetes-list-type is map"
            errors.append(fe.required(f"{path}.items", why))
            return
        if not isinstance(items, Mapping):
            why = "must only have a single schema if x-kubernetes-list-type is map"
            errors.append(fe.invalid(f"{path}.items", items, why))
            return
        kind = items.get("type") or ""
        if kind != "object":
            why = "must be object if parent array's x-kubernetes-list-type is map"
            errors.append(fe.invalid(f"{path}.items.type", kind, why))
            return
        properties = items.get("properties") or {}
        seen: set[str] = set()
        for key in keys:
            if key not in properties:
                why = "entries must all be names of item properties"
                errors.append(fe.invalid(place, keys, why))
            elif properties[key].get("type") in ("array", "object"):
                why = "must be a scalar type if parent array's x-kubernetes-list-type is map"
                errors.append(fe.invalid(f"{path}.items.properties[{key}].type", kind, why))
            if key in seen:
                errors.append(fe.invalid(place, keys, "must not contain duplicate entries"))
            seen.add(key)

    @staticmethod
    def _rules(schema: Document, path: str, errors: Errors) -> None:
        """What can be said of rules without compiling them."""
        for index, rule in enumerate(schema.get("x-kubernetes-validations") or ()):
            place = f"{path}.x-kubernetes-validations[{index}]"
            text, message = rule.get("rule") or "", rule.get("message") or ""
            expression = rule.get("messageExpression") or ""
            if not text.strip():
                errors.append(fe.required(f"{place}.rule", "rule is not specified"))
            elif message and not message.strip():
                why = "must be non-empty if specified"
                errors.append(fe.invalid(f"{place}.message", message, why))
            elif _NEWLINES.search(message.strip()):
                errors.append(
                    fe.invalid(f"{place}.message", message, "must not contain line breaks")
                )
            elif _NEWLINES.search(text.strip()) and not message.strip():
                why = "message must be specified if rule contains line breaks"
                errors.append(fe.required(f"{place}.message", why))
            if expression and not expression.strip():
                why = "messageExpression must be non-empty if specified"
                errors.append(fe.required(f"{place}.messageExpression", why))
            reason = rule.get("reason")
            if reason is not None and reason not in _REASONS:
                errors.append(fe.not_supported(f"{place}.reason", reason, _REASONS))
            field = rule.get("fieldPath") or ""
            if field and not field.strip():
                why = "must be non-empty if specified"
                errors.append(fe.invalid(f"{place}.fieldPath", field, why))
            if _NEWLINES.search(field):
                why = "must not contain line breaks"
                errors.append(fe.invalid(f"{place}.fieldPath", field, why))
            if field:
                try:
                    find_field(parse(schema), field)
                except FieldPathError:
                    errors.append(fe.invalid(f"{place}.fieldPath", field, "must be a valid path"))

    def _compile(
        self, schema: Document, path: str, scope: _Scope, context: SchemaContext
    ) -> Errors:
        errors: Errors = []
        for index, rule in enumerate(schema["x-kubernetes-validations"]):
            place = f"{path}.x-kubernetes-validations[{index}]"
            found = context.check(rule)
            if self.options.judge_cost:
                context.judge(found.cost, "estimated rule cost", f"{place}.rule", errors)
            context.total.observe(f"{place}.rule", context.times(found.cost))
            if found.error:
                errors.append(go_invalid(f"{place}.rule", go_rule(rule), found.error))
            if found.message_error:
                errors.append(
                    go_invalid(f"{place}.messageExpression", go_rule(rule), found.message_error)
                )
            elif found.message_cost is not None:
                where = f"{place}.messageExpression"
                if self.options.judge_cost:
                    name = "estimated messageExpression cost"
                    context.judge(found.message_cost, name, where, errors, once=True)
                context.total.observe(where, found.message_cost)
            if found.uses_old_self:
                if scope.no_old_self:
                    why = (
                        "oldSelf cannot be used on the uncorrelatable portion of the schema within "
                        f"{scope.no_old_self}"
                    )
                    errors.append(fe.invalid(f"{place}.rule", rule.get("rule", ""), why))
            elif rule.get("optionalOldSelf") is not None:
                why = "may not be set if oldSelf is not used in rule"
                errors.append(fe.invalid(f"{place}.optionalOldSelf", rule["optionalOldSelf"], why))
        return errors
