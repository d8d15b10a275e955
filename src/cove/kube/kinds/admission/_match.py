"""Rules, selectors and conditions that webhooks and policies share.

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._cel import Scope, check_expression
from cove.kube.kinds._checks import selector

__all__ = [
    "default_match_resources",
    "default_rules",
    "match_conditions",
    "match_resources",
    "rule_with_operations",
]

Errors = list[FieldError]
Doc = dict[str, Any]

_SCOPES = ("*", "Cluster", "Namespaced")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")


def default_rules(rules: list[Doc] | None) -> None:
    """Rules apply in every scope unless they say otherwise."""
    for rule in rules or ():
        if rule.get("scope") is None:
            rule["scope"] = "*"


def default_match_resources(match: Doc | None) -> None:
    """A policy's MatchResources."""
    if match is None:
        return
    if match.get("matchPolicy") is None:
        match["matchPolicy"] = "Equivalent"
    for key in ("namespaceSelector", "objectSelector"):
        if match.get(key) is None:
            match[key] = {}
    default_rules(match.get("resourceRules"))
    default_rules(match.get("excludeResourceRules"))


def _wild(errors: Errors, path: str, values: list[str], text: str) -> None:
    if "*" in values and len(values) > 1:
        errors.append(fe.invalid(path, values, text))


def _resources(errors: Errors, path: str, resources: list[str]) -> None:
    if not resources:
        errors.append(fe.required(path))
    whole = "*/*" in resources
    by_sub: set[str] = set()
    by_resource: set[str] = set()
    for i, value in enumerate(resources):
        at = f"{path}[{i}]"
        if not value:
            errors.append(fe.required(at))
            continue
        if value == "*/*":
            continue
        resource, slash, sub = value.partition("/")
        if resource == "*" and slash:
            by_sub.add(sub)
        elif slash and sub == "*":
            by_resource.add(resource)
        if resource != "*" and slash and sub != "*":
            if sub in by_sub:
                errors.append(
                    fe.invalid(at, value, f"if '*/{sub}' is present, must not specify {value}")
                )
            if resource in by_resource:
                errors.append(
                    fe.invalid(at, value, f"if '{resource}/*' is present, must not specify {value}")
                )
    if whole and len(resources) > 1:
        errors.append(
            fe.invalid(path, resources, "if '*/*' is present, must not specify other resources")
        )
    if "*" in resources and any("/" not in r and r != "*" for r in resources):
        errors.append(
            fe.invalid(
                path,
                resources,
                "if '*' is present, must not specify other resources without subresources",
            )
        )


def rule_with_operations(errors: Errors, path: str, rule: Doc) -> None:
    """A RuleWithOperations."""
    operations = rule.get("operations") or []
    if not operations:
        errors.append(fe.required(f"{path}.operations"))
    _wild(
        errors,
        f"{path}.operations",
        operations,
        "if '*' is present, must not specify other operations",
    )
    for i, operation in enumerate(operations):
        if operation not in _OPERATIONS:
            errors.append(fe.not_supported(f"{path}.operations[{i}]", operation, _OPERATIONS))
    for key, what in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        values = rule.get(key) or []
        if not values:
            errors.append(fe.required(f"{path}.{key}"))
        _wild(
            errors,
            f"{path}.{key}",
            values,
            f"if '*' is present, must not specify other {what}",
        )
        if key == "apiVersions":
            errors += [
                fe.required(f"{path}.{key}[{i}]") for i, value in enumerate(values) if not value
            ]
    _resources(errors, f"{path}.resources", rule.get("resources") or [])
    scope = rule.get("scope")
    if scope is not None and scope not in _SCOPES:
        errors.append(fe.not_supported(f"{path}.scope", scope, _SCOPES))


def match_conditions(
    errors: Errors, path: str, conditions: list[Doc], scope: Scope | None = None
) -> None:
    """``matchConditions``: at most 64, named, with expressions."""
    if len(conditions) > 64:
        errors.append(fe.too_many(path, len(conditions), 64))
    seen: set[str] = set()
    for i, condition in enumerate(conditions):
        at = f"{path}[{i}]"
        expression, name = (condition.get("expression") or "").strip(), condition.get("name") or ""
        if not expression:
            errors.append(fe.required(f"{at}.expression"))
        else:
            check_expression(errors, f"{at}.expression", condition["expression"], "match", scope)
        if not name:
            errors.append(fe.required(f"{at}.name"))
        else:
            errors += [fe.invalid(f"{at}.name", name, m) for m in names.is_qualified_name(name)]
            if name in seen:
                errors.append(fe.duplicate(f"{at}.name", name))
            seen.add(name)


def match_resources(errors: Errors, path: str, match: Doc, *, rules_needed: bool) -> None:
    """A policy's MatchResources."""
    policy = match.get("matchPolicy")
    if policy is None:
        errors.append(fe.required(f"{path}.matchPolicy"))
    elif policy not in ("Equivalent", "Exact"):
        errors.append(fe.not_supported(f"{path}.matchPolicy", policy, ("Equivalent", "Exact")))
    for key in ("namespaceSelector", "objectSelector"):
        if match.get(key) is None:
            errors.append(fe.required(f"{path}.{key}"))
        else:
            selector(errors, f"{path}.{key}", match[key])
    for key in ("resourceRules", "excludeResourceRules"):
        for i, rule in enumerate(match.get(key) or ()):
            at = f"{path}.{key}[{i}]"
            rule_with_operations(errors, at, rule)
            resource_names = rule.get("resourceNames") or []
            for n, name in enumerate(resource_names):
                errors += [
                    fe.invalid(f"{at}.resourceNames[{n}]", name, m)
                    for m in names.is_path_segment_name(name)
                ]
                if name in resource_names[:n]:
                    errors.append(fe.duplicate(f"{at}.resourceNames[{n}]", name))
    if rules_needed and not match.get("resourceRules"):
        errors.append(fe.required(f"{path}.resourceRules"))
