"""FlowSchema and PriorityLevelConfiguration.

Source: https://kubernetes.io/docs/concepts/cluster-administration/flow-control/
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import name_errors
from cove.kube.kinds._kind import Kind, Obj, keep_metadata
from cove.kube.kinds._table import age

__all__ = ["FlowSchema", "PriorityLevelConfiguration"]

Errors = list[FieldError]
_VERBS = frozenset(
    ("get", "list", "create", "update", "delete", "deletecollection", "patch", "watch", "proxy")
)
_WELL_KNOWN = frozenset(("exempt", "catch-all"))


def _subject(errors: Errors, path: str, subject: Obj) -> None:
    kind = subject.get("kind") or ""
    keys = {"User": "user", "Group": "group", "ServiceAccount": "serviceAccount"}
    if kind not in keys:
        errors.append(fe.not_supported(f"{path}.kind", kind, ("ServiceAccount", "Group", "User")))
        return
    for other, key in keys.items():
        if other != kind and subject.get(key) is not None:
            errors.append(
                fe.forbidden(
                    f"{path}.{key}", f"{key} is forbidden when subject kind is not '{other}'"
                )
            )
    own = subject.get(keys[kind])
    if own is None:
        errors.append(
            fe.required(
                f"{path}.{keys[kind]}", f"{keys[kind]} is required when subject kind is '{kind}'"
            )
        )
        return
    at = f"{path}.{keys[kind]}"
    name = own.get("name") or ""
    if not name:
        errors.append(fe.required(f"{at}.name"))
    elif kind == "ServiceAccount" and name != "*":
        name_errors(errors, f"{at}.name", name, names.is_dns1123_subdomain)
    if kind == "ServiceAccount":
        namespace = own.get("namespace") or ""
        if not namespace:
            errors.append(
                fe.required(f"{at}.namespace", "must specify namespace for service account")
            )
        else:
            name_errors(errors, f"{at}.namespace", namespace, names.is_dns1123_label)


def _wild(errors: Errors, path: str, values: list[str], what: str) -> None:
    if not values:
        errors.append(fe.required(path))
    elif len(values) > 1 and "*" in values:
        errors.append(fe.invalid(path, values, f"if '*' is present, must not specify other {what}"))


def _verbs(errors: Errors, path: str, verbs: list[str]) -> None:
    _wild(errors, path, verbs, "verbs")
    if verbs and "*" not in verbs and not set(verbs) <= _VERBS:
        errors.append(fe.not_supported(path, verbs, _VERBS))


def _rule(errors: Errors, path: str, rule: Obj) -> None:
    if not rule.get("subjects"):
        errors.append(fe.required(f"{path}.subjects", "subjects must contain at least one value"))
    for i, subject in enumerate(rule.get("subjects") or ()):
        _subject(errors, f"{path}.subjects[{i}]", subject)
    resources, others = rule.get("resourceRules") or [], rule.get("nonResourceRules") or []
    if not resources and not others:
        errors.append(
            fe.required(
                path, "at least one of resourceRules and nonResourceRules has to be non-empty"
            )
        )
    for i, item in enumerate(resources):
        at = f"{path}.resourceRules[{i}]"
        _verbs(errors, f"{at}.verbs", item.get("verbs") or [])
        _wild(errors, f"{at}.apiGroups", item.get("apiGroups") or [], "api groups")
        _wild(errors, f"{at}.resources", item.get("resources") or [], "resources")
        namespaces = item.get("namespaces") or []
        if not namespaces and not item.get("clusterScope"):
            errors.append(
                fe.required(
                    f"{at}.namespaces",
                    "resource rules that are not cluster scoped must supply at least one namespace",
                )
            )
        elif "*" in namespaces and len(namespaces) > 1:
            errors.append(
                fe.invalid(
                    f"{at}.namespaces",
                    namespaces,
                    "if '*' is present, must not specify other namespaces",
                )
            )
        else:
            for n, namespace in enumerate(namespaces):
                if namespace != "*":
                    name_errors(errors, f"{at}.namespaces[{n}]", namespace, names.is_dns1123_label)
    for i, item in enumerate(others):
        at = f"{path}.nonResourceRules[{i}]"
        _verbs(errors, f"{at}.verbs", item.get("verbs") or [])
        urls = item.get("nonResourceURLs") or []
        if not urls:
            errors.append(
                fe.required(
                    f"{at}.nonResourceURLs", "nonResourceURLs must contain at least one value"
                )
            )
        elif "*" in urls:
            if len(urls) > 1:
                errors.append(
                    fe.invalid(
                        f"{at}.nonResourceURLs",
                        urls,
                        "if '*' is present, must not specify other non-resource URLs",
                    )
                )
        else:
            for n, url in enumerate(urls):
                problem = _url_problem(url)
                if problem:
                    errors.append(fe.invalid(f"{at}.nonResourceURLs[{n}]", url, problem))


def _url_problem(url: str) -> str:
    if not url:
        return "must not be empty"
    if url == "/":
        return ""
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    if url.count("*") > 1 or ("*" in url and not url.endswith("/*")):
        return "wildcard can only do suffix matching"
    return ""


class _FlowKind(Kind):
    generation = True
    status = True
    empty_status = MappingProxyType({})

    def prepare_status(self, obj: Obj, old: Obj) -> None:
        super().prepare_status(obj, old)
        keep_metadata(obj, old)

    def reset_fields(self, subresource: str) -> Sequence[str]:
        return ("metadata", "spec") if subresource == "status" else ("status",)


class FlowSchema(_FlowKind):
    """Which requests share a queue."""

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("matchingPrecedence"):
            spec["matchingPrecedence"] = 1000

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        spec, name = obj.get("spec") or {}, obj["metadata"].get("name") or ""
        precedence = spec.get("matchingPrecedence") or 0
        if precedence <= 0:
            errors.append(
                fe.invalid("spec.matchingPrecedence", precedence, "must be a positive value")
            )
        if precedence > 10000:
            errors.append(
                fe.invalid(
                    "spec.matchingPrecedence",
                    precedence,
                    "must not be greater than 10000",
                )
            )
        if precedence == 1 and name != "exempt":
            errors.append(
                fe.invalid(
                    "spec.matchingPrecedence",
                    precedence,
                    "only the schema named 'exempt' may have matchingPrecedence 1",
                )
            )
        method = spec.get("distinguisherMethod")
        if method is not None and method.get("type") not in ("ByNamespace", "ByUser"):
            errors.append(
                fe.not_supported(
                    "spec.distinguisherMethod",
                    {"Type": method.get("type") or ""},
                    ("ByNamespace", "ByUser"),
                )
            )
        level = (spec.get("priorityLevelConfiguration") or {}).get("name") or ""
        path = "spec.priorityLevelConfiguration.name"
        if not level:
            errors.append(fe.required(path, "must reference a priority level"))
        else:
            name_errors(errors, path, level, names.is_dns1123_subdomain)
        for i, rule in enumerate(spec.get("rules") or ()):
            _rule(errors, f"spec.rules[{i}]", rule)
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        return self.validate_create(obj)

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        method = spec.get("distinguisherMethod")
        dangling = "?"
        for condition in status.get("conditions") or ():
            if condition.get("type") == "Dangling":
                dangling = condition.get("status") or ""
                break
        return [
            obj["metadata"].get("name", ""),
            (spec.get("priorityLevelConfiguration") or {}).get("name") or "",
            spec.get("matchingPrecedence") or 0,
            "<none>" if method is None else method.get("type") or "",
            age(obj, now),
            dangling,
        ]


class PriorityLevelConfiguration(_FlowKind):
    """How much of the server a class of requests may have."""

    def default(self, obj: Obj) -> None:
        spec = obj.get("spec") or {}
        exempt, limited = spec.get("exempt"), spec.get("limited")
        if exempt is not None:
            for key in ("nominalConcurrencyShares", "lendablePercent"):
                if exempt.get(key) is None:
                    exempt[key] = 0
        if limited is not None:
            if limited.get("nominalConcurrencyShares") is None:
                limited["nominalConcurrencyShares"] = 30
            if limited.get("lendablePercent") is None:
                limited["lendablePercent"] = 0
            queuing = (limited.get("limitResponse") or {}).get("queuing")
            if queuing is not None:
                for key, value in (("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)):
                    if not queuing.get(key):
                        queuing[key] = value

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        kind, exempt, limited = spec.get("type") or "", spec.get("exempt"), spec.get("limited")
        if kind == "Exempt":
            if limited is not None:
                errors.append(
                    fe.forbidden("spec.limited", "must be nil if the type is not Limited")
                )
            if exempt is not None:
                self._shares(errors, "spec.exempt", exempt, least=0)
        elif kind == "Limited":
            if exempt is not None:
                errors.append(fe.forbidden("spec.exempt", "must be nil if the type is not Exempt"))
            if limited is None:
                errors.append(fe.required("spec.limited", "must not be empty when type is Limited"))
            else:
                self._limited(errors, limited)
        else:
            errors.append(fe.not_supported("spec.type", kind, ("Exempt", "Limited")))
        return errors

    def _shares(self, errors: Errors, path: str, level: Obj, *, least: int) -> None:
        shares = level.get("nominalConcurrencyShares")
        if shares is not None and shares < least:
            errors.append(
                fe.invalid(
                    f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer"
                )
            )
        percent = level.get("lendablePercent")
        if percent is not None and not 0 <= percent <= 100:
            errors.append(
                fe.invalid(
                    f"{path}.lendablePercent", percent, "must be between 0 and 100, inclusive"
                )
            )

    def _limited(self, errors: Errors, limited: Obj) -> None:
        path = "spec.limited"
        self._shares(errors, path, limited, least=0)
        borrowing = limited.get("borrowingLimitPercent")
        if borrowing is not None and borrowing < 0:
            errors.append(
                fe.invalid(
                    f"{path}.borrowingLimitPercent",
                    borrowing,
                    "if specified, must be a non-negative integer",
                )
            )
        response = limited.get("limitResponse") or {}
        kind, queuing = response.get("type") or "", response.get("queuing")
        at = f"{path}.limitResponse"
        if kind == "Reject":
            if queuing is not None:
                errors.append(
                    fe.forbidden(
                        f"{at}.queuing", "must be nil if limited.limitResponse.type is not Limited"
                    )
                )
        elif kind == "Queue":
            if queuing is None:
                errors.append(
                    fe.required(
                        f"{at}.queuing",
                        "must not be empty if limited.limitResponse.type is Limited",
                    )
                )
            else:
                _queuing(errors, f"{at}.queuing", queuing)
        else:
            errors.append(fe.not_supported(f"{at}.type", kind, ("Queue", "Reject")))

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        return self.validate_create(obj)

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec = obj.get("spec") or {}
        limited = spec.get("limited")
        cells: list[Any] = ["<none>"] * 4
        if limited is not None:
            cells[0] = limited.get("nominalConcurrencyShares")
            queuing = (limited.get("limitResponse") or {}).get("queuing")
            if queuing is not None:
                cells[1:] = [queuing.get(k) for k in ("queues", "handSize", "queueLengthLimit")]
        return [obj["metadata"].get("name", ""), spec.get("type") or "", *cells, age(obj, now)]


def _queuing(errors: Errors, path: str, queuing: Obj) -> None:
    limit, queues, hand = (queuing.get(k) or 0 for k in ("queueLengthLimit", "queues", "handSize"))
    if limit <= 0:
        errors.append(fe.invalid(f"{path}.queueLengthLimit", limit, "must be positive"))
    if queues <= 0:
        errors.append(fe.invalid(f"{path}.queues", queues, "must be positive"))
    elif queues > 10_000_000:
        errors.append(fe.invalid(f"{path}.queues", queues, "must not be greater than 10000000"))
    if hand <= 0:
        errors.append(fe.invalid(f"{path}.handSize", hand, "must be positive"))
    elif hand > queues:
        errors.append(
            fe.invalid(f"{path}.handSize", hand, f"should not be greater than queues ({queues})")
        )
