"""Groups: the methods of the official clients, made of the catalogue of built-in kinds.

``read_namespaced_pod_log`` is taken apart into a verb, a kind and a subresource; nothing is
listed here that the catalogue does not have.

Source: https://github.com/kubernetes-client/python/tree/master/kubernetes/docs
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from cove.kube import catalogue
from cove.kube.gvk import GVR

if TYPE_CHECKING:
    from cove.testing.kubernetes._facade import Kubernetes

__all__ = ["Group", "Method", "methods", "snake"]

# pytest shows a test where it failed, not where that was found.
__tracebackhide__ = True

_VERBS = {
    "read": "get",
    "list": "list",
    "create": "create",
    "replace": "replace",
    "patch": "patch",
    "delete": "delete",
    "delete_collection": "deletecollection",
}
# What the catalogue calls them.
_OFFERED = {**{verb: verb for verb in _VERBS.values()}, "replace": "update"}
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Method(NamedTuple):
    """What a method's name says; ``everywhere``: of all namespaces."""

    verb: str
    gvr: GVR
    kind: str
    namespaced: bool
    subresource: str = ""
    everywhere: bool = False


def snake(word: str) -> str:
    """``ConfigMap`` → ``config_map``, ``APIService`` → ``api_service``."""
    return _WORDS.sub("_", word).lower()


@lru_cache(maxsize=64)
def methods(group: str, version: str) -> dict[str, Method]:
    """Every method of a group and version, by name."""
    return dict(_methods(group, version))


def _methods(group: str, version: str) -> Iterator[tuple[str, Method]]:
    for resource in catalogue.resources():
        if (resource.group, resource.version) != (group, version):
            continue
        gvr = GVR(group, version, resource.plural)
        place = "namespaced_" if resource.namespaced else ""
        word = snake(resource.kind)
        plain = Method("", gvr, resource.kind, resource.namespaced)
        for name, verb in _VERBS.items():
            if _OFFERED[verb] in resource.verbs:
                yield f"{name}_{place}{word}", plain._replace(verb=verb)
        if resource.namespaced:
            yield (
                f"list_{word}_for_all_namespaces",
                plain._replace(verb="list", everywhere=True),
            )
        for sub in resource.subresources:
            for name in ("read", "replace", "patch", "create", "delete"):
                yield (
                    f"{name}_{place}{word}_{snake(sub)}",
                    plain._replace(verb=_VERBS[name], subresource=sub),
                )


class Group:
    """One group and version: ``k8s.core``, ``k8s.apps``; see the module.

    Methods take what those of the official clients take, in that order — ``(name, namespace)``,
    ``(namespace, body)``, ``(name, namespace, body)``, options by name
    (``label_selector="app=web"``) — and leave out the namespace for the test's own.
    """

    def __init__(self, owner: Kubernetes, group: str, version: str) -> None:
        self._owner = owner
        self._group, self._version = group, version

    def __repr__(self) -> str:
        name = f"{self._group}/{self._version}" if self._group else self._version
        return f"<{name} of {self._owner.name}>"

    def __dir__(self) -> list[str]:
        return sorted(methods(self._group, self._version))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        known = methods(self._group, self._version)
        method = known.get(name)
        if method is None:
            close = difflib.get_close_matches(name, known, 3)
            hint = f": did you mean {' or '.join(close)}?" if close else ""
            raise AttributeError(f"{self!r} has no method {name}{hint}")

        def call(*args: Any, **options: Any) -> Any:
            return self._owner._invoke(name, method, args, options)

        call.__name__ = name
        return call
