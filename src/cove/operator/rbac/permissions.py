"""Permissions one by one, and the rules of roles that they are written as; pure.

One permission is one verb for one resource in one place.  Sets of them are easy to add, to
compare and to take away; the rules of a role are the shortest way to write a set down, the
same for the same set.

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = [
    "CLUSTER",
    "OWN",
    "WATCHED",
    "Permission",
    "granted",
    "of_rule",
    "policy_rules",
    "ranked",
]

Doc = dict[str, Any]

# Places: everywhere; the namespaces that an operator follows; the one that it runs in.  Any
# other text is the namespace of that name.
CLUSTER = "*"
WATCHED = "*watched"
OWN = "*own"

_VERBS = ("*", "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")


class Permission(NamedTuple):
    """One verb for a resource in a place, or for a URL; ``name`` "" is every object."""

    place: str
    group: str
    # With its subresource: ``pods/log``.
    resource: str
    verb: str
    name: str = ""
    url: str = ""

    def covers(self, other: Permission) -> bool:
        """Whether who has this has the other."""
        return (
            self.place in (CLUSTER, other.place)
            and self.verb in ("*", other.verb)
            and self.name in ("", other.name)
            and (_covers_url(self.url, other.url) if self.url or other.url else self._about(other))
        )

    def _about(self, other: Permission) -> bool:
        if self.group not in ("*", other.group):
            return False
        if self.resource in ("*", other.resource):
            return True
        # "*/scale": that subresource of everything.
        return self.resource.startswith("*/") and other.resource.endswith(self.resource[1:])

    def __str__(self) -> str:
        where = {CLUSTER: "", WATCHED: " in what it follows", OWN: " in its own namespace"}
        place = where.get(self.place, f" in {self.place}")
        if self.url:
            return f"{self.verb} {self.url}"
        resource = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {resource}{f' {self.name}' if self.name else ''}{place}"


def _covers_url(pattern: str, url: str) -> bool:
    if pattern.endswith("*"):
        return bool(url) and url.startswith(pattern[:-1])
    return pattern == url


def ranked(verbs: Iterable[str]) -> list[str]:
    """Verbs in the order in which people write them."""
    known = {verb: number for number, verb in enumerate(_VERBS)}
    return sorted(set(verbs), key=lambda verb: (known.get(verb, len(known)), verb))


def policy_rules(permissions: Iterable[Permission]) -> list[Doc]:
    """The rules of one role, wherever that is bound: as few as there can be, sorted."""
    found = _needed(p._replace(place=CLUSTER) for p in permissions)
    urls: dict[str, set[str]] = {}
    # (group, resource) → name → verbs
    things: dict[tuple[str, str], dict[str, set[str]]] = {}
    for p in found:
        if p.url:
            urls.setdefault(p.url, set()).add(p.verb)
        else:
            things.setdefault((p.group, p.resource), {}).setdefault(p.name, set()).add(p.verb)
    # Names that share their verbs stand together, then resources that share both.
    same: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (group, resource), names in sorted(things.items()):
        by_verbs: dict[tuple[str, ...], list[str]] = {}
        for name, verbs in sorted(names.items()):
            by_verbs.setdefault(tuple(ranked(verbs)), []).append(name)
        for chosen, listed in by_verbs.items():
            # "" is every name, whatever else has the same verbs.
            key = () if "" in listed else tuple(listed)
            same.setdefault((group, key, chosen), []).append(resource)
    rules = [_rule(group, resources, names, v) for (group, names, v), resources in same.items()]
    by_url: dict[tuple[str, ...], list[str]] = {}
    for url, found_verbs in sorted(urls.items()):
        by_url.setdefault(tuple(ranked(found_verbs)), []).append(url)
    return sorted(rules, key=_order) + [
        {"nonResourceURLs": listed, "verbs": list(v)} for v, listed in by_url.items()
    ]


def _rule(group: str, resources: list[str], names: tuple[str, ...], verbs: tuple[str, ...]) -> Doc:
    rule: Doc = {"apiGroups": [group], "resources": resources}
    if names:
        rule["resourceNames"] = list(names)
    return {**rule, "verbs": list(verbs)}


def _order(rule: Doc) -> tuple[Any, ...]:
    return rule["apiGroups"], rule["resources"], rule.get("resourceNames", []), rule["verbs"]


def _needed(permissions: Iterable[Permission]) -> list[Permission]:
    """Without those that another one covers."""
    every = list(dict.fromkeys(permissions))
    # Only these cover more than themselves.
    wide = [
        p for p in every if "*" in (p.group, p.verb) or p.name == "" or "*" in p.resource + p.url
    ]
    return [p for p in every if not any(w is not p and w != p and w.covers(p) for w in wide)]


def granted(documents: Iterable[Mapping[str, Any]]) -> list[Permission]:
    """What Roles and ClusterRoles among documents permit, one by one.

    A ClusterRole holds where RoleBindings among the documents bind it, everywhere if none does.
    """
    docs = list(documents)
    bound: dict[str, list[str]] = {}
    for doc in docs:
        ref = doc.get("roleRef") or {}
        if doc.get("kind") == "RoleBinding" and ref.get("kind") == "ClusterRole":
            bound.setdefault(ref["name"], []).append(doc["metadata"].get("namespace", "default"))
    out: list[Permission] = []
    for doc in docs:
        metadata = doc.get("metadata") or {}
        if doc.get("kind") == "Role":
            places: Sequence[str] = [metadata.get("namespace", "default")]
        elif doc.get("kind") == "ClusterRole":
            places = bound.get(metadata.get("name", ""), [CLUSTER])
        else:
            continue
        for rule in doc.get("rules") or ():
            for place in places:
                out += of_rule(rule, place)
    return list(dict.fromkeys(out))


def of_rule(rule: Mapping[str, Any], place: str) -> Iterable[Permission]:
    """What one rule of a role that holds in a place permits."""
    for verb in rule.get("verbs") or ():
        for url in rule.get("nonResourceURLs") or ():
            yield Permission(place, "", "", verb, url=url)
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                for name in rule.get("resourceNames") or ("",):
                    yield Permission(place, group, resource, verb, name)
