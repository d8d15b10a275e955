"""Admission policies in CEL, and their bindings.

Source: https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._cel import Scope, check_expression
from cove.kube.kinds._checks import name_errors, selector
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._table import age
from cove.kube.kinds.admission._match import (
    default_match_resources,
    match_conditions,
    match_resources,
)
from cove.kube.labels import format_document

__all__ = [
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
]

Errors = list[FieldError]
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")


def _param_kind(errors: Errors, path: str, kind: Obj) -> None:
    version, name = kind.get("apiVersion") or "", kind.get("kind") or ""
    at = f"{path}.apiVersion"
    if not version:
        errors.append(fe.required(at))
    elif version.count("/") > 1:
        errors.append(fe.invalid(at, version, f"unexpected GroupVersion string: {version}"))
    else:
        group, _, number = version.rpartition("/")
        if group:
            errors += [fe.invalid(at, group, m) for m in names.is_dns1123_subdomain(group)]
        errors += [fe.invalid(at, number, m) for m in names.is_dns1035_label(number)]
    if not name:
        errors.append(fe.required(f"{path}.kind"))
    else:
        errors += [
            fe.invalid(
                f"{path}.kind",
                name,
                f"may have mixed case, but should otherwise match: {m}",
            )
            for m in names.is_dns1035_label(name.lower())
        ]


def _variables(errors: Errors, path: str, variables: list[Obj], scope: Scope) -> None:
    seen: set[str] = set()
    for i, variable in enumerate(variables):
        at, name = f"{path}[{i}]", variable.get("name") or ""
        expression = variable.get("expression") or ""
        if not name:
            errors.append(fe.required(f"{at}.name", "name is not specified"))
        else:
            if names.is_c_identifier(name):
                errors.append(fe.invalid(f"{at}.name", name, "name is not a valid CEL identifier"))
            if name in seen:
                errors.append(fe.duplicate(f"{at}.name", name))
        if not expression.strip():
            errors.append(fe.required(f"{at}.expression", "expression is not specified"))
        else:
            problem = scope.declare(name, expression)
            if problem:
                errors.append(fe.invalid(f"{at}.expression", expression, problem))
        seen.add(name)


class _Policy(Kind):
    generation = True
    allow_unconditional_update = False

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        if spec.get("failurePolicy") is None:
            spec["failurePolicy"] = "Fail"
        default_match_resources(spec.get("matchConstraints"))

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        return self.validate_create(obj)

    def _common(self, errors: Errors, spec: Obj) -> None:
        policy = spec.get("failurePolicy")
        if policy is None:
            errors.append(fe.required("spec.failurePolicy"))
        elif policy not in ("Fail", "Ignore"):
            errors.append(fe.not_supported("spec.failurePolicy", policy, ("Fail", "Ignore")))
        if spec.get("paramKind") is not None:
            _param_kind(errors, "spec.paramKind", spec["paramKind"])
        if spec.get("matchConstraints") is None:
            errors.append(fe.required("spec.matchConstraints"))
        else:
            match_resources(
                errors, "spec.matchConstraints", spec["matchConstraints"], rules_needed=True
            )

    def _kind_cell(self, spec: Obj) -> str:
        kind = spec.get("paramKind")
        if kind is None:
            return "<unset>"
        return f"{kind.get('apiVersion') or ''}/{kind.get('kind') or ''}"


class ValidatingAdmissionPolicy(_Policy):
    """Rules that objects must fulfil."""

    status = True
    empty_status = MappingProxyType({})

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        self._common(errors, spec)
        scope = Scope(params=spec.get("paramKind") is not None)
        conditions = spec.get("matchConditions") or []
        match_conditions(errors, "spec.matchConditions", conditions, scope)
        _variables(errors, "spec.variables", spec.get("variables") or [], scope)
        validations = spec.get("validations") or []
        annotations = spec.get("auditAnnotations") or []
        if not validations and not annotations:
            text = "validations or auditAnnotations must contain at least one item"
            errors += [
                fe.required("spec.validations", text),
                fe.required("spec.auditAnnotations", text),
            ]
            return errors
        for i, validation in enumerate(validations):
            _validation(errors, f"spec.validations[{i}]", validation, scope)
        if len(annotations) > 20:
            errors.append(
                fe.invalid(
                    "spec.auditAnnotations",
                    annotations,
                    "must not have more than 20 auditAnnotations",
                )
            )
        seen: set[str] = set()
        name = obj["metadata"].get("name") or ""
        for i, annotation in enumerate(annotations):
            _audit(errors, f"spec.auditAnnotations[{i}]", name, annotation, scope)
            key = annotation.get("key") or ""
            if key in seen:
                errors.append(fe.duplicate(f"spec.auditAnnotations[{i}].key", key))
            seen.add(key)
        return errors

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec = obj.get("spec") or {}
        return [
            obj["metadata"].get("name", ""),
            len(spec.get("validations") or ()),
            self._kind_cell(spec),
            age(obj, now),
        ]


def _validation(errors: Errors, path: str, validation: Obj, scope: Scope) -> None:
    expression, message = validation.get("expression") or "", validation.get("message")
    stripped = (message or "").strip()
    if not expression.strip():
        errors.append(fe.required(f"{path}.expression", "expression is not specified"))
    else:
        check_expression(errors, f"{path}.expression", expression, "validation", scope)
    dynamic = validation.get("messageExpression") or ""
    if dynamic and not dynamic.strip():
        errors.append(
            fe.invalid(f"{path}.messageExpression", dynamic, "must be non-empty if specified")
        )
    elif dynamic:
        check_expression(errors, f"{path}.messageExpression", dynamic, "message", scope)
    at = f"{path}.message"
    if message and not stripped:
        errors.append(fe.invalid(at, message, "message must be non-empty if specified"))
    elif "\n" in stripped:
        errors.append(fe.invalid(at, message, "message must not contain line breaks"))
    if "\n" in expression.strip() and not stripped:
        errors.append(
            fe.required(at, "message must be specified if expression contains line breaks")
        )
    reason = validation.get("reason")
    if reason is not None and reason not in _REASONS:
        errors.append(fe.not_supported(f"{path}.reason", reason, _REASONS))


def _audit(errors: Errors, path: str, policy: str, annotation: Obj, scope: Scope) -> None:
    key, expression = annotation.get("key") or "", annotation.get("valueExpression") or ""
    if policy and key:
        errors += [
            fe.invalid(f"{path}.key", key, m) for m in names.is_qualified_name(f"{policy}/{key}")
        ]
    if not key:
        errors.append(fe.required(f"{path}.key"))
    if not expression.strip():
        errors.append(fe.required(f"{path}.valueExpression", "valueExpression is not specified"))
    elif len(expression) > 5 * 1024:
        errors.append(fe.required(f"{path}.valueExpression", "must not exceed 5kB in length"))
    else:
        check_expression(errors, f"{path}.valueExpression", expression, "audit", scope)


class MutatingAdmissionPolicy(_Policy):
    """Changes that objects get."""

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        self._common(errors, spec)
        scope = Scope(params=spec.get("paramKind") is not None)
        conditions = spec.get("matchConditions") or []
        match_conditions(errors, "spec.matchConditions", conditions, scope)
        _variables(errors, "spec.variables", spec.get("variables") or [], scope)
        mutations = spec.get("mutations") or []
        if not mutations:
            errors.append(fe.required("spec.mutations", "mutations must contain at least one item"))
        for i, mutation in enumerate(mutations):
            _mutation(errors, f"spec.mutations[{i}]", mutation, scope)
        policy = spec.get("reinvocationPolicy") or ""
        if not policy:
            errors.append(fe.required("spec.reinvocationPolicy"))
        elif policy not in ("Never", "IfNeeded"):
            errors.append(
                fe.not_supported("spec.reinvocationPolicy", policy, {"Never", "IfNeeded"})
            )
        return errors

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec = obj.get("spec") or {}
        return [
            obj["metadata"].get("name", ""),
            len(spec.get("mutations") or ()),
            self._kind_cell(spec),
            age(obj, now),
        ]


def _mutation(errors: Errors, path: str, mutation: Obj, scope: Scope) -> None:
    kind = mutation.get("patchType") or ""
    keys = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
    if not kind:
        errors.append(fe.required(f"{path}.patchType"))
        return
    if kind not in keys:
        errors.append(fe.not_supported(f"{path}.patchType", kind, set(keys)))
        return
    for other, key in keys.items():
        source = mutation.get(key)
        at = f"{path}.{key}"
        if other == kind:
            if source is None:
                errors.append(fe.required(at, f"must be specified when patchType is {kind}"))
            elif not (source.get("expression") or "").strip():
                errors.append(fe.required(f"{at}.expression", "expression is not specified"))
            else:
                purpose = "apply" if kind == "ApplyConfiguration" else "patch"
                check_expression(errors, f"{at}.expression", source["expression"], purpose, scope)
        elif source is not None:
            errors.append(fe.forbidden(at, f"must not be specified when patchType is {kind}"))


class _Binding(Kind):
    generation = True
    allow_unconditional_update = False
    acts = True

    def default(self, obj: Obj) -> None:
        default_match_resources((obj.get("spec") or {}).get("matchResources"))

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        policy = spec.get("policyName") or ""
        if not policy:
            errors.append(fe.required("spec.policyName"))
        else:
            name_errors(errors, "spec.policyName", policy, names.is_dns1123_subdomain)
        reference = spec.get("paramRef")
        if reference is not None:
            self._param(errors, reference)
        if spec.get("matchResources") is not None:
            match_resources(
                errors, "spec.matchResources", spec["matchResources"], rules_needed=False
            )
        if self.acts:
            _actions(errors, spec.get("validationActions") or [])
        return errors

    def _param(self, errors: Errors, reference: Obj) -> None:
        path = "spec.paramRef"
        name, chosen = reference.get("name") or "", reference.get("selector")
        if name:
            name_errors(errors, f"{path}.name", name, names.is_path_segment_name)
            if chosen is not None:
                errors.append(
                    fe.forbidden(f"{path}.name", "name and selector are mutually exclusive")
                )
        if chosen is not None:
            selector(errors, f"{path}.selector", chosen)
            if name:
                errors.append(
                    fe.forbidden(f"{path}.selector", "name and selector are mutually exclusive")
                )
        if not name and chosen is None:
            errors.append(fe.required(path, "one of name or selector must be specified"))
        action = reference.get("parameterNotFoundAction")
        at = f"{path}.parameterNotFoundAction"
        if not action:
            errors.append(fe.required(at))
        elif action not in ("Allow", "Deny"):
            errors.append(fe.not_supported(at, action, {"Allow", "Deny"}))

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        return self.validate_create(obj)

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec = obj.get("spec") or {}
        reference, told = spec.get("paramRef"), "<unset>"
        if reference is not None:
            if reference.get("name"):
                told = f"{reference.get('namespace') or '*'}/{reference['name']}"
            elif reference.get("selector") is not None:
                told = format_document(reference["selector"])
        return [
            obj["metadata"].get("name", ""),
            spec.get("policyName") or "",
            told,
            age(obj, now),
        ]


def _actions(errors: Errors, actions: list[str]) -> None:
    path = "spec.validationActions"
    if not actions:
        errors.append(fe.required(path, "at least one validation action is required"))
    for i, action in enumerate(actions):
        if action not in ("Deny", "Warn", "Audit"):
            errors.append(fe.not_supported(f"{path}[{i}]", action, {"Audit", "Deny", "Warn"}))
        if action in actions[:i]:
            errors.append(fe.duplicate(f"{path}[{i}]", action))
    if "Deny" in actions and "Warn" in actions:
        errors.append(
            fe.invalid(
                path,
                actions,
                "must not contain both Deny and Warn (repeating the same validation failure "
                "information in the API response and headers serves no purpose)",
            )
        )


class ValidatingAdmissionPolicyBinding(_Binding):
    """Where a validating policy applies, and how."""


class MutatingAdmissionPolicyBinding(_Binding):
    """Where a mutating policy applies."""

    acts = False
