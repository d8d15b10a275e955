"""Entity: a typed Kubernetes object, and what a class says of its kind.

A class says once where it is served; everything else of the operator — CRDs, controllers,
webhooks, roles — asks :func:`info`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, TypeVar

import msgspec

from cove.kube.gvk import GVK, GVR, api_version, parse_api_version
from cove.kube.names import is_dns1035_label, is_dns1123_subdomain
from cove.operator.entities._metadata import ObjectMeta
from cove.operator.entities._struct import Struct, field
from cove.operator.errors import EntityError
from cove.operator.markers import Column

__all__ = [
    "Entity",
    "EntityInfo",
    "Kind",
    "Scale",
    "Scope",
    "builtin",
    "entity",
    "info",
]

Scope = Literal["Namespaced", "Cluster"]


class Entity(Struct):
    """A Kubernetes object: metadata, and the fields that a class gives it.

    ::

        @entity("cache.example.com/v1")
        class Cache(Entity):
            spec: CacheSpec
            status: CacheStatus = CacheStatus()

    A class with a ``status`` has the status subresource.
    """

    api_version: ClassVar[str] = ""
    kind: ClassVar[str] = ""
    __entity__: ClassVar[EntityInfo | None] = None

    metadata: ObjectMeta = field(default_factory=ObjectMeta)


class Kind(Entity, zero=True):
    """A built-in kind: what is zero is left out, as in :class:`~cove.operator.entities.Part`."""


E = TypeVar("E", bound=Entity)


class Scale(msgspec.Struct, frozen=True):
    """Where ``kubectl scale`` and autoscalers find the replicas: paths like ``spec.size``.

    ``selector`` is the field with the pods' label selector as text, "" without one.
    """

    spec: str
    status: str
    selector: str = ""


class EntityInfo(msgspec.Struct, frozen=True):
    """What a class says of its kind.

    ``deprecated`` is the warning that clients get, "" for Kubernetes' own words and None where
    the version is not deprecated; ``ignore`` is a kind that somebody else defines;
    ``builtin`` one that every cluster has.
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    scope: Scope = "Namespaced"
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    storage: bool = False
    served: bool = True
    deprecated: str | None = None
    scale: Scale | None = None
    selectable: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    ignore: bool = False
    builtin: bool = False
    has_spec: bool = False
    has_status: bool = False

    @property
    def api_version(self) -> str:
        """``cache.example.com/v1``."""
        return api_version(self.group, self.version)

    @property
    def gvk(self) -> GVK:
        """Its type."""
        return GVK(self.group, self.version, self.kind)

    @property
    def gvr(self) -> GVR:
        """Where it is served."""
        return GVR(self.group, self.version, self.plural)

    @property
    def namespaced(self) -> bool:
        """Whether its objects live in namespaces."""
        return self.scope == "Namespaced"

    @property
    def crd_name(self) -> str:
        """The name of its CustomResourceDefinition: ``caches.cache.example.com``."""
        return f"{self.plural}.{self.group}"

    def __str__(self) -> str:
        return f"{self.api_version} {self.kind}"


def info(of: type[Entity] | Entity) -> EntityInfo:
    """What a class, or an object's, says of its kind; EntityError for one that says nothing."""
    found = of.__entity__
    if found is None:
        cls = of if isinstance(of, type) else type(of)
        raise EntityError(
            f"{cls.__qualname__} says nothing of its kind: put @entity('group/version') above it"
        )
    return found


def entity(
    api_version: str,
    *,
    kind: str | None = None,
    plural: str | None = None,
    singular: str | None = None,
    short_names: Sequence[str] = (),
    categories: Sequence[str] = (),
    scope: Scope = "Namespaced",
    storage: bool = False,
    served: bool = True,
    deprecated: str | bool | None = None,
    scale: Scale | tuple[str, str] | tuple[str, str, str] | None = None,
    selectable: Sequence[str] = (),
    columns: Sequence[Column] = (),
    ignore: bool = False,
) -> Callable[[type[E]], type[E]]:
    """Say where the objects of a class are served: ``@entity("cache.example.com/v1")``.

    The kind is the class's name, the plural the kind's in lower case with an s.  Paths in
    ``scale`` and ``selectable`` are those of documents (``spec.secretRef``).  ``storage``
    marks, among several versions of one kind, the one that is kept; ``deprecated`` is True or
    the warning that clients get.  ``ignore`` is for kinds that somebody else defines: no
    CustomResourceDefinition is made.

    Raises EntityError for names that Kubernetes does not take.
    """
    group, version = _group_version(api_version, ignore)
    told = {True: "", False: None}.get(deprecated) if isinstance(deprecated, bool) else deprecated

    def decorate(cls: type[E]) -> type[E]:
        name = kind or cls.__name__
        made = EntityInfo(
            group=group,
            version=version,
            kind=name,
            plural=plural or plural_of(name.lower()),
            singular=singular or name.lower(),
            scope=scope,
            short_names=tuple(short_names),
            categories=tuple(categories),
            storage=storage,
            served=served,
            deprecated=told,
            scale=Scale(*scale) if isinstance(scale, tuple) else scale,
            selectable=tuple(selectable),
            columns=tuple(columns),
            ignore=ignore,
        )
        return _declare(cls, made)

    return decorate


def _declare(cls: type[E], made: EntityInfo) -> type[E]:
    """Keep what is said of a class with it; raises EntityError for what cannot be."""
    if not _is_entity(cls):
        raise EntityError(
            f"{getattr(cls, '__qualname__', cls)} is no Entity: write class {made.kind}(Entity)"
        )
    problem = next(_problems(made), None)
    if problem is not None:
        raise EntityError(f"{cls.__qualname__}: {problem}")
    if made.scale is not None and "status" not in cls.__struct_fields__:
        raise EntityError(
            f"{cls.__qualname__}: scale needs a status, which has the replicas there are"
        )
    return _keep(cls, made)


def _keep(cls: type[E], made: EntityInfo) -> type[E]:
    fields = cls.__struct_fields__
    cls.__entity__ = msgspec.structs.replace(
        made, has_spec="spec" in fields, has_status="status" in fields
    )
    cls.api_version = made.api_version
    cls.kind = made.kind
    return cls


def builtin(
    api_version: str,
    plural: str,
    *,
    singular: str = "",
    short_names: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    scope: Scope = "Namespaced",
) -> Callable[[type[E]], type[E]]:
    """What the modules of :mod:`cove.operator.kinds` say of their kinds."""
    group, version = parse_api_version(api_version)

    def decorate(cls: type[E]) -> type[E]:
        return _keep(
            cls,
            EntityInfo(
                group=group,
                version=version,
                kind=cls.__name__,
                plural=plural,
                singular=singular or cls.__name__.lower(),
                scope=scope,
                short_names=short_names,
                categories=categories,
                ignore=True,
                builtin=True,
            ),
        )

    return decorate


def _is_entity(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, Entity)


def _group_version(text: str, ignore: bool) -> tuple[str, str]:
    try:
        group, version = parse_api_version(text)
    except ValueError as error:
        raise EntityError(f"{text!r}: write group/version, like cache.example.com/v1") from error
    if not version or (not group and not ignore):
        raise EntityError(f"{text!r}: write group/version, like cache.example.com/v1")
    if group and "." not in group and not ignore:
        raise EntityError(f"{text!r}: the group is a domain of yours with at least one dot")
    return group, version


def _problems(made: EntityInfo) -> Any:
    """What Kubernetes would say of the names."""
    if made.scope not in ("Namespaced", "Cluster"):
        yield f"scope is Namespaced or Cluster, not {made.scope!r}"
    rows = [("version", made.version, is_dns1035_label)]
    if made.group:
        rows.append(("group", made.group, is_dns1123_subdomain))
    rows.append(("kind", made.kind.lower(), is_dns1035_label))
    rows += [(what, getattr(made, what), is_dns1035_label) for what in ("plural", "singular")]
    rows += [("short name", name, is_dns1035_label) for name in made.short_names]
    rows += [("category", name, is_dns1035_label) for name in made.categories]
    for what, value, check in rows:
        faults = check(value)
        if faults:
            yield f"{what} {value!r}: {', '.join(faults)}"


def plural_of(word: str) -> str:
    """The plural by the rules that English has and Kubernetes follows: caches, policies, ingresses."""
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return f"{word}es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}s"
