"""What is declared: ``rbac = [Rbac(Secret, "get"), RbacRule(…)]`` on a controller, or op.rbac(…)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cove.operator.entities import Entity, info
from cove.operator.errors import EntityError
from cove.operator.rbac.permissions import CLUSTER, OWN, WATCHED, Permission

__all__ = ["Rbac", "RbacRule", "of_kind"]

_ON_STATUS = ("get", "update", "patch", "*")
_ON_FINALIZERS = ("update", "patch", "*")
_KNOWN = frozenset(
    [
        "get",
        "list",
        "watch",
        "create",
        "update",
        "patch",
        "delete",
        "deletecollection",
        "*",
        "bind",
        "escalate",
        "impersonate",
        "approve",
        "sign",
        "attest",
        "use",
    ]
)


def _words(text: str | Iterable[str]) -> tuple[str, ...]:
    """Words of a text, or of several."""
    texts = [text] if isinstance(text, str) else list(text)
    return tuple(dict.fromkeys(word for one in texts for word in one.replace(",", " ").split()))


def _verbs(texts: Iterable[str], about: str) -> tuple[str, ...]:
    found = _words(texts)
    unknown = [verb for verb in found if verb not in _KNOWN]
    if unknown or not found:
        raise EntityError(
            f"{about}: {unknown[0]!r} is no verb" if unknown else f"{about}: name verbs, like get"
        )
    return found


class Rbac:
    """Verbs for kinds: ``Rbac(Secret, "get list watch")``, ``Rbac([Job, CronJob], "*")``.

    Several for one kind are added up.  Where the kind is one of a CustomResourceDefinition and
    has a status, ``/status`` comes with get, update and patch, and ``/finalizers`` with
    update: what they would be of no use without.  ``only`` says that this is all: nothing is
    derived for these kinds from what the operator uses.
    """

    def __init__(
        self, of: type[Entity] | Iterable[type[Entity]], *verbs: str, only: bool = False
    ) -> None:
        self.kinds = (of,) if isinstance(of, type) else tuple(of)
        names = ", ".join(info(cls).kind for cls in self.kinds)
        self.verbs = _verbs(verbs, f"Rbac({names})")
        self.only = only

    def __repr__(self) -> str:
        return f"Rbac({', '.join(info(c).kind for c in self.kinds)}: {' '.join(self.verbs)})"

    def permissions(self) -> Iterator[Permission]:
        """What it says, one by one."""
        for cls in self.kinds:
            yield from of_kind(cls, *self.verbs)
            if info(cls).builtin:
                continue
            if info(cls).has_status:
                yield from of_kind(cls, *self._some(_ON_STATUS), sub="status")
            if self._some(_ON_FINALIZERS):
                yield from of_kind(cls, "update", sub="finalizers")

    def _some(self, of: tuple[str, ...]) -> list[str]:
        return [verb for verb in self.verbs if verb in of]


class RbacRule:
    """Anything: ``RbacRule(groups="apps", resources="deployments/scale", verbs="get patch")``.

    Texts are split at spaces, the core group is "" (or ``core``).  ``urls`` are paths like
    ``/metrics``.  ``names`` are the only objects it is about.  ``scope`` is where: "watched"
    are the namespaces that the operator follows, "own" is the one it runs in, "cluster"
    everywhere.
    """

    def __init__(
        self,
        *,
        groups: str | Iterable[str] = "",
        resources: str | Iterable[str] = (),
        urls: str | Iterable[str] = (),
        verbs: str | Iterable[str],
        names: str | Iterable[str] = (),
        scope: str = "watched",
    ) -> None:
        given = _words(groups) if isinstance(groups, str) else tuple(groups)
        self.groups = tuple("" if group == "core" else group for group in given or ("",))
        self.resources = _words(resources)
        self.urls = _words(urls)
        self.names = _words(names)
        about = " ".join((*self.resources, *self.urls))
        self.verbs = _verbs([verbs] if isinstance(verbs, str) else verbs, f"RbacRule({about})")
        if bool(self.resources) == bool(self.urls):
            raise EntityError(f"RbacRule({about}): name resources or urls, one of them")
        places = {"watched": WATCHED, "own": OWN, "cluster": CLUSTER}
        if scope not in places:
            raise EntityError(f"RbacRule({about}): scope {scope!r} is none of {', '.join(places)}")
        self.place = places[scope]

    def __repr__(self) -> str:
        return f"RbacRule({' '.join((*self.resources, *self.urls))}: {' '.join(self.verbs)})"

    def permissions(self) -> Iterator[Permission]:
        """What it says, one by one."""
        for verb in self.verbs:
            for url in self.urls:
                yield Permission(CLUSTER, "", "", verb, url=url)
            for group in self.groups:
                for resource in self.resources:
                    for name in self.names or ("",):
                        yield Permission(self.place, group, resource, verb, name)


def of_kind(
    cls: type[Entity], *verbs: str, sub: str = "", name: str = "", place: str = WATCHED
) -> Iterator[Permission]:
    """Verbs for a kind, or a subresource of it; everywhere where it is cluster-scoped."""
    about = info(cls)
    where = place if about.namespaced else CLUSTER
    resource = f"{about.plural}/{sub}" if sub else about.plural
    for verb in _words(verbs):
        yield Permission(where, about.group, resource, verb, name)
