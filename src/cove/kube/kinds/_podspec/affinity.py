"""Validation of where a pod may run: node selectors, affinity, tolerations, topology spread.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import name_errors, selector

__all__ = [
    "node_selector",
    "taint_effect",
    "validate_affinity",
    "validate_spread",
    "validate_tolerations",
]

Errors = list[FieldError]
Doc = dict[str, Any]

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def taint_effect(errors: Errors, path: str, effect: str) -> None:
    """An effect that is there; empty is Required."""
    if not effect:
        errors.append(fe.required(path))
    elif effect not in _EFFECTS:
        errors.append(fe.not_supported(path, effect, _EFFECTS))


def validate_tolerations(errors: Errors, path: str, tolerations: Sequence[Doc]) -> None:
    """``spec.tolerations``."""
    for i, toleration in enumerate(tolerations):
        at = f"{path}[{i}]"
        key, operator = toleration.get("key") or "", toleration.get("operator") or ""
        value, effect = toleration.get("value") or "", toleration.get("effect") or ""
        if key:
            name_errors(errors, f"{at}.key", key, names.is_label_key)
        elif operator != "Exists":
            errors.append(
                fe.invalid(
                    f"{at}.operator",
                    operator,
                    'operator must be Exists when `key` is empty, which means "match all values and all keys"',
                )
            )
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            errors.append(
                fe.invalid(
                    f"{at}.effect",
                    effect,
                    "effect must be 'NoExecute' when `tolerationSeconds` is set",
                )
            )
        if operator in ("Equal", ""):
            faults = names.is_label_value(value)
            if faults:
                errors.append(fe.invalid(f"{at}.operator", value, ";".join(faults)))
        elif operator == "Exists":
            if value:
                errors.append(
                    fe.invalid(
                        f"{at}.operator", value, "value must be empty when `operator` is 'Exists'"
                    )
                )
        else:
            errors.append(fe.not_supported(f"{at}.operator", operator, ("Equal", "Exists")))
        if effect and effect not in _EFFECTS:
            errors.append(fe.not_supported(f"{at}.effect", effect, _EFFECTS))


def _requirement(errors: Errors, path: str, requirement: Doc, *, values_checked: bool) -> None:
    operator, values = requirement.get("operator") or "", requirement.get("values") or ()
    at = f"{path}.values"
    if operator in ("In", "NotIn"):
        if not values:
            errors.append(fe.required(at, "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            errors.append(
                fe.forbidden(
                    at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                )
            )
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            errors.append(
                fe.required(at, "must be specified single value when `operator` is 'Lt' or 'Gt'")
            )
    else:
        errors.append(fe.invalid(f"{path}.operator", operator, "not a valid selector operator"))
    name_errors(errors, f"{path}.key", requirement.get("key") or "", names.is_label_key)
    if values_checked:
        for i, value in enumerate(values):
            name_errors(errors, f"{at}[{i}]", value, names.is_label_value)


def _field_requirement(errors: Errors, path: str, requirement: Doc) -> None:
    operator, values = requirement.get("operator") or "", requirement.get("values") or ()
    if operator in ("In", "NotIn"):
        if len(values) != 1:
            errors.append(
                fe.required(
                    f"{path}.values",
                    "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
                )
            )
    else:
        errors.append(fe.invalid(f"{path}.operator", operator, "not a valid selector operator"))
    key = requirement.get("key") or ""
    if key != "metadata.name":
        errors.append(fe.invalid(f"{path}.key", key, "not a valid field selector key"))
    else:
        for i, value in enumerate(values):
            name_errors(errors, f"{path}.values[{i}]", value, names.is_dns1123_subdomain)


def _term(errors: Errors, path: str, term: Doc, *, values_checked: bool) -> None:
    for i, requirement in enumerate(term.get("matchExpressions") or ()):
        _requirement(
            errors, f"{path}.matchExpressions[{i}]", requirement, values_checked=values_checked
        )
    for i, requirement in enumerate(term.get("matchFields") or ()):
        _field_requirement(errors, f"{path}.matchFields[{i}]", requirement)


def node_selector(errors: Errors, path: str, document: Doc) -> None:
    """A NodeSelector: of a pod's affinity, or of a PersistentVolume."""
    terms = document.get("nodeSelectorTerms")
    if not terms:
        errors.append(
            fe.required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
        )
        return
    for i, term in enumerate(terms):
        _term(errors, f"{path}.nodeSelectorTerms[{i}]", term, values_checked=True)


def _label_keys(errors: Errors, path: str, keys: Sequence[str], document: Doc | None) -> None:
    if not keys:
        return
    if document is None:
        errors.append(fe.forbidden(path, "must not be specified when labelSelector is not set"))
        return
    for i, key in enumerate(keys):
        name_errors(errors, f"{path}[{i}]", key, names.is_label_key)


def _match_keys(
    errors: Errors, path: str, match: Sequence[str], mismatch: Sequence[str], document: Doc | None
) -> None:
    _label_keys(errors, f"{path}.matchLabelKeys", match, document)
    _label_keys(errors, f"{path}.mismatchLabelKeys", mismatch, document)
    if document is not None:
        places = {key: i for i, key in enumerate(match)}
        known = set(document.get("matchLabels") or ())
        for expression in document.get("matchExpressions") or ():
            key = expression.get("key") or ""
            if key in places and key in known:
                errors.append(
                    fe.invalid(
                        f"{path}[{places[key]}]",
                        key,
                        "exists in both matchLabelKeys and labelSelector",
                    )
                )
            known.add(key)
    errors += [
        fe.invalid(
            f"{path}.matchLabelKeys[{i}]",
            key,
            "exists in both matchLabelKeys and mismatchLabelKeys",
        )
        for i, key in enumerate(match)
        if key in mismatch
    ]


def _pod_term(errors: Errors, path: str, term: Doc) -> None:
    document = term.get("labelSelector")
    selector(errors, f"{path}.labelSelector", document)
    selector(errors, f"{path}.namespaceSelector", term.get("namespaceSelector"))
    for namespace in term.get("namespaces") or ():
        name_errors(errors, f"{path}.namespace", namespace, names.is_dns1123_label)
    match, mismatch = term.get("matchLabelKeys") or (), term.get("mismatchLabelKeys") or ()
    if match or mismatch:
        _match_keys(errors, path, match, mismatch, document)
    key = term.get("topologyKey") or ""
    if not key:
        errors.append(fe.required(f"{path}.topologyKey", "can not be empty"))
    name_errors(errors, f"{path}.topologyKey", key, names.is_label_key)


def _weight(errors: Errors, path: str, item: Doc) -> None:
    weight = item.get("weight") or 0
    if not 0 < weight <= 100:
        errors.append(fe.invalid(f"{path}.weight", weight, "must be in the range 1-100"))


_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def validate_affinity(errors: Errors, path: str, affinity: Doc) -> None:
    """``spec.affinity``."""
    node = affinity.get("nodeAffinity")
    if node is not None:
        at = f"{path}.nodeAffinity"
        required = node.get(_REQUIRED)
        if required is not None:
            node_selector(errors, f"{at}.{_REQUIRED}", required)
        for i, item in enumerate(node.get(_PREFERRED) or ()):
            _weight(errors, f"{at}.{_PREFERRED}[{i}]", item)
            _term(
                errors,
                f"{at}.{_PREFERRED}[{i}].preference",
                item.get("preference") or {},
                values_checked=False,
            )
    for kind in ("podAffinity", "podAntiAffinity"):
        pods = affinity.get(kind)
        if pods is None:
            continue
        at = f"{path}.{kind}"
        for i, term in enumerate(pods.get(_REQUIRED) or ()):
            _pod_term(errors, f"{at}.{_REQUIRED}[{i}]", term)
        for i, item in enumerate(pods.get(_PREFERRED) or ()):
            _weight(errors, f"{at}.{_PREFERRED}[{i}]", item)
            _pod_term(
                errors,
                f"{at}.{_PREFERRED}[{i}].podAffinityTerm",
                item.get("podAffinityTerm") or {},
            )


def validate_spread(errors: Errors, path: str, constraints: Sequence[Doc]) -> None:
    """``spec.topologySpreadConstraints``."""
    for i, constraint in enumerate(constraints):
        at = f"{path}[{i}]"
        skew = constraint.get("maxSkew") or 0
        if skew <= 0:
            errors.append(fe.invalid(f"{at}.maxSkew", skew, "must be greater than zero"))
        key, when = constraint.get("topologyKey") or "", constraint.get("whenUnsatisfiable") or ""
        if not key:
            errors.append(fe.required(f"{at}.topologyKey", "can not be empty"))
        if when not in ("DoNotSchedule", "ScheduleAnyway"):
            errors.append(
                fe.not_supported(
                    f"{at}.whenUnsatisfiable", when, ("DoNotSchedule", "ScheduleAnyway")
                )
            )
        if any(
            key == (c.get("topologyKey") or "") and when == (c.get("whenUnsatisfiable") or "")
            for c in constraints[i + 1 :]
        ):
            errors.append(
                fe.duplicate(f"{at}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {when}}}")
            )
        domains = constraint.get("minDomains")
        if domains is not None:
            if domains <= 0:
                errors.append(fe.invalid(f"{at}.minDomains", domains, "must be greater than zero"))
            if when != "DoNotSchedule":
                errors.append(
                    fe.invalid(
                        f"{at}.minDomains",
                        domains,
                        f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}",
                    )
                )
        for policy in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            value = constraint.get(policy)
            if value is not None and value not in ("Honor", "Ignore"):
                errors.append(fe.not_supported(f"{at}.{policy}", value, ("Honor", "Ignore")))
        document = constraint.get("labelSelector")
        keys = constraint.get("matchLabelKeys") or ()
        if keys:
            _match_keys(errors, at, keys, (), document)
        selector(errors, f"{at}.labelSelector", document)
