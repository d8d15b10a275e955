"""Who may give rights: nobody gives what he does not have himself.

To write a role one needs every right in it, or the verb ``escalate`` on it; to bind one,
every right of the role, or the verb ``bind``.

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from cove.server.identity._rbac import Rule

__all__ = ["FULL", "refusal", "uncovered"]

# Everything there is.
FULL: list[Rule] = [
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
]
_FIELDS = (
    ("APIGroups", "apiGroups"),
    ("Resources", "resources"),
    ("NonResourceURLs", "nonResourceURLs"),
    ("ResourceNames", "resourceNames"),
    ("Verbs", "verbs"),
)


def uncovered(owned: list[Rule], asked: Iterable[Rule]) -> list[Rule]:
    """The single rights of ``asked`` that no rule of ``owned`` gives."""
    return [
        single
        for rule in asked
        for single in _singles(rule)
        if not any(_covers(own, single) for own in owned)
    ]


def _singles(rule: Rule) -> Iterator[Rule]:
    verbs = rule.get("verbs") or ()
    names: list[Any] = list(rule.get("resourceNames") or ()) or [None]
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            for verb in verbs:
                for name in names:
                    single = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                    if name is not None:
                        single["resourceNames"] = [name]
                    yield single
    for path in rule.get("nonResourceURLs") or ():
        for verb in verbs:
            yield {"nonResourceURLs": [path], "verbs": [verb]}


def _covers(own: Rule, single: Rule) -> bool:
    verbs = own.get("verbs") or ()
    if "*" not in verbs and single["verbs"][0] not in verbs:
        return False
    if "nonResourceURLs" in single:
        path = single["nonResourceURLs"][0]
        return any(
            pattern == path or (pattern.endswith("*") and path.startswith(pattern.rstrip("*")))
            for pattern in own.get("nonResourceURLs") or ()
        )
    groups = own.get("apiGroups") or ()
    if "*" not in groups and single["apiGroups"][0] not in groups:
        return False
    names = own.get("resourceNames")
    if names and ("resourceNames" not in single or single["resourceNames"][0] not in names):
        return False
    resources, resource = own.get("resources") or (), single["resources"][0]
    if "*" in resources or resource in resources:
        return True
    _, slash, subresource = resource.partition("/")
    return bool(slash) and f"*/{subresource}" in resources


def refusal(user: str, groups: Iterable[str], lacking: list[Rule], problems: list[str]) -> str:
    """The text that refuses: one line for each resource, with the verbs that are missing.

    ``problems`` are what kept the user's own rules from being known.
    """
    told = "\n".join(sorted({_shown(rule) for rule in _compact(lacking)}))
    text = (
        f"user {_quote(user)} (groups={_list(groups)}) is attempting to grant RBAC permissions "
        f"not currently held:\n{told}"
    )
    if problems:
        listed = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        text += f"; resolution errors: [{listed}]"
    return text


def _compact(rules: list[Rule]) -> list[Rule]:
    """Rights to the same resource as one rule."""
    others: list[Rule] = []
    found: dict[tuple[str, ...], Rule] = {}
    for rule in rules:
        if "nonResourceURLs" in rule:
            others.append(rule)
            continue
        key = (rule["apiGroups"][0], rule["resources"][0], *rule.get("resourceNames", ()))
        if key in found:
            found[key]["verbs"] = found[key]["verbs"] + rule["verbs"]
        else:
            found[key] = dict(rule)
    return others + list(found.values())


def _shown(rule: Rule) -> str:
    parts = [f"{name}:{_list(rule[key])}" for name, key in _FIELDS if rule.get(key)]
    return "{" + ", ".join(parts) + "}"


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _list(values: Iterable[str]) -> str:
    return "[" + " ".join(map(_quote, values)) + "]"
