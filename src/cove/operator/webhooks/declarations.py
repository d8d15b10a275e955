"""What is said of a webhook where it is declared; checked there, so that nothing starts wrong.

Handlers take by name what is of the review — ``new``, ``old``, ``dry_run``, ``warnings``,
``request`` — and by annotation what the operator provides, like those of controllers.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, TypeVar, Union, cast, get_args, get_origin

from cove.operator.entities import Entity, info
from cove.operator.errors import EntityError
from cove.operator.runtime.inject import Wanted, wanted
from cove.operator.webhooks.review import AdmissionRequest, Operation

__all__ = [
    "AdmissionOptions",
    "AdmissionSpec",
    "ConverterSpec",
    "Handler",
    "MutateOptions",
    "add_admission",
    "add_converter",
]

Doc = dict[str, Any]
H = TypeVar("H", bound=Callable[..., Any])
Kind = Literal["validate", "mutate"]

OPERATIONS: tuple[Operation, ...] = ("create", "update", "delete")
# An operation and what there is none of then.
_ABSENT = {"create": "old", "delete": "new"}
_OF_REVIEW = ("new", "old", "dry_run", "warnings", "request")


class AdmissionOptions(TypedDict, total=False):
    """What can be said of a webhook that validates.

    ``on`` names operations (``"create update"``), of a class those that it has methods for;
    ``name`` is the webhook's, the function's unless given; one without two dots gets the
    resource and its group appended.  ``subresources`` are what else it is about:
    ``("", "status")`` is the object and its status.  ``match_conditions`` are CEL expressions
    by name; ``selector`` and ``namespace_selector`` label selectors as documents or texts
    like ``team=a``.  ``timeout`` is in seconds, 1 to 30.  ``scope`` None is the kind's.
    """

    on: str
    name: str | None
    subresources: Iterable[str]
    match_conditions: Mapping[str, str]
    selector: Mapping[str, Any] | str
    namespace_selector: Mapping[str, Any] | str
    failure_policy: Literal["Fail", "Ignore"]
    match_policy: Literal["Equivalent", "Exact"]
    timeout: int
    scope: Literal["Namespaced", "Cluster", "*"] | None
    side_effects: Literal["None", "NoneOnDryRun"]


class MutateOptions(AdmissionOptions, total=False):
    """Of a webhook that changes; ``reinvocation`` "IfNeeded" asks again after others changed."""

    reinvocation: Literal["Never", "IfNeeded"]


@dataclass(frozen=True, slots=True)
class Handler:
    """A function, or a method by its name: what it takes of the review, and of the operator."""

    function: Callable[..., Any]
    method: str
    of_review: Mapping[str, Any]
    injected: Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionSpec:
    """One webhook that validates or changes; ``options`` has a value for everything."""

    kind: Kind
    cls: type[Entity]
    name: str
    path: str
    handlers: Mapping[Operation, Handler]
    factory: type[Any] | None
    options: MutateOptions

    @property
    def subresources(self) -> tuple[str, ...]:
        """What it is about, "" being the object itself."""
        return tuple(self.options["subresources"])


@dataclass(frozen=True, slots=True)
class ConverterSpec:
    """A version of a kind, and how it becomes the hub's and comes from it."""

    spoke: type[Entity]
    hub: type[Entity]
    to_hub: Callable[[Any], Any]
    from_hub: Callable[[Any], Any]


# -- webhooks that validate and change


def add_admission(
    specs: list[AdmissionSpec], kind: Kind, cls: type[Entity], options: AdmissionOptions
) -> Callable[[H], H]:
    """A decorator that adds what it decorates to ``specs``; raises EntityError."""

    def decorate(decorated: H) -> H:
        spec = _admission(kind, cls, decorated, options)
        if any(spec.name == other.name for other in specs):
            raise EntityError(f"{spec.name} is already a webhook that {kind}s: give it a name")
        specs.append(spec)
        return decorated

    return decorate


def _admission(
    kind: Kind, cls: type[Entity], decorated: Callable[..., Any], options: AdmissionOptions
) -> AdmissionSpec:
    about = info(cls)
    possible = OPERATIONS if kind == "validate" else OPERATIONS[:2]
    asked = options.get("on")
    operations = _operations(asked, possible, decorated) if asked is not None else None
    factory = decorated if isinstance(decorated, type) else None
    handlers: dict[Operation, Handler] = {}
    if factory is not None:
        for operation in operations or possible:
            method = getattr(factory, operation, None)
            if method is not None:
                handlers[operation] = _handler(cls, method, (operation,), operation)
            elif operations:
                raise EntityError(f"{factory.__qualname__} has no method {operation}")
        if not handlers:
            raise EntityError(
                f"{factory.__qualname__} has none of the methods {', '.join(possible)}"
            )
    else:
        chosen = operations or ("create", "update")
        handlers = dict.fromkeys(chosen, _handler(cls, decorated, chosen, ""))
    for sub in options.get("subresources", ()):
        for handler in handlers.values():
            _check_subresource(cls, handler, sub)
    label = _label(options.get("name") or decorated.__name__)
    full = label if label.count(".") >= 2 else f"{label}.{about.plural}.{about.group or 'core'}"
    place = f"{about.plural}.{about.group}" if about.group else about.plural
    return AdmissionSpec(
        kind=kind,
        cls=cls,
        name=full,
        path=f"/{kind}/{place}/{about.version}/{label}",
        handlers=handlers,
        factory=factory,
        options=_complete(full, options, scope=about.scope),
    )


def _complete(name: str, options: AdmissionOptions, *, scope: Any) -> MutateOptions:
    """Every option, selectors as documents."""
    defaults = {
        "subresources": ("",),
        "match_conditions": {},
        "selector": {},
        "namespace_selector": {},
        "failure_policy": "Fail",
        "match_policy": "Equivalent",
        "timeout": 10,
        "side_effects": "None",
        "reinvocation": "Never",
    }
    made: dict[str, Any] = {**defaults, **options, "scope": options.get("scope") or scope}
    made["subresources"] = tuple(made["subresources"]) or ("",)
    if not 1 <= made["timeout"] <= 30:
        raise EntityError(f"{name}: timeout {made['timeout']}: an API server takes 1 to 30 s")
    for key in ("selector", "namespace_selector"):
        if isinstance(made[key], str):
            made[key] = _selector(name, made[key])
    return cast("MutateOptions", made)


def _operations(
    text: str, possible: tuple[Operation, ...], decorated: Callable[..., Any]
) -> tuple[Operation, ...]:
    words = text.replace(",", " ").split()
    wrong = [word for word in words if word not in possible]
    if wrong or not words:
        raise EntityError(
            f"{decorated.__qualname__}: on={text!r}: name some of {' '.join(possible)}"
        )
    return tuple(operation for operation in possible if operation in words)


def _selector(name: str, text: str) -> Doc:
    pairs = [part.partition("=") for part in text.split(",") if part]
    if not all(equals and key.strip() for key, equals, _ in pairs):
        raise EntityError(
            f"{name}: selector {text!r}: write key=value,…, or a label selector as a document"
        )
    return {"matchLabels": {key.strip(): value.strip() for key, _, value in pairs}}


def _label(text: str) -> str:
    """A name as DNS has them."""
    label = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", text).lower().replace("_", "-").strip("-.")
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", label):
        raise EntityError(f"name {text!r}: a webhook's is of letters, digits, - and .")
    return label


def _handler(
    cls: type[Entity],
    function: Callable[..., Any],
    operations: tuple[Operation, ...],
    method: str,
) -> Handler:
    found = wanted(function, skip=1 if method else 0)
    of_review = {n: t for n, t in found.parameters.items() if n in _OF_REVIEW}
    rest = {n: t for n, t in found.parameters.items() if n not in _OF_REVIEW}
    for name, type_ in of_review.items():
        _check(cls, function, name, type_, operations)
    return Handler(function, method, of_review, Wanted(function, rest))


def _check(
    cls: type[Entity],
    function: Callable[..., Any],
    name: str,
    type_: Any,
    operations: tuple[Operation, ...],
) -> None:
    where = f"{function.__qualname__}: {name}"
    if name not in ("new", "old"):
        fit: dict[str, tuple[Any, ...]] = {
            "dry_run": (bool,),
            "warnings": (list[str], list),
            "request": (AdmissionRequest,),
        }
        if type_ is not Any and type_ not in fit[name]:
            raise EntityError(f"{where} is {fit[name][0]}, not {type_}")
        return
    plain, optional = without_none(type_)
    if plain is not Any and plain is not cls and get_origin(plain) is not dict:
        raise EntityError(f"{where} is a {cls.__name__}, or dict[str, Any] for the raw document")
    for operation in operations:
        if _ABSENT.get(operation) == name and not optional and plain is not Any:
            raise EntityError(
                f"{where} is None on {operation}: annotate {name}: {cls.__name__} | None"
            )


def _check_subresource(cls: type[Entity], handler: Handler, subresource: str) -> None:
    """A status is shown as the object; a scale, for one, is of another kind."""
    if subresource in ("", "status"):
        return
    for name in ("new", "old"):
        if without_none(handler.of_review.get(name))[0] is cls:
            raise EntityError(
                f"{handler.function.__qualname__}: {name} is a {cls.__name__}, which its "
                f"{subresource} need not be: annotate dict[str, Any]"
            )


def without_none(type_: Any) -> tuple[Any, bool]:
    """``Cache | None`` → (Cache, True)."""
    if get_origin(type_) not in (Union, types.UnionType):
        return type_, False
    rest = [t for t in get_args(type_) if t is not type(None)]
    return (rest[0] if len(rest) == 1 else type_), len(rest) < len(get_args(type_))


# -- conversion


def add_converter(
    specs: list[ConverterSpec], spoke: type[Entity], hub: type[Entity]
) -> Callable[[H], H]:
    """A decorator for a class with to_hub and from_hub; raises EntityError."""
    one, other = info(spoke), info(hub)
    if (one.group, one.kind) != (other.group, other.kind) or one.version == other.version:
        raise EntityError(f"{one} and {other} are not two versions of one kind")
    for spec in specs:
        if info(spec.hub).gvk[::2] == other.gvk[::2] and spec.hub is not hub:
            raise EntityError(
                f"{one} converts to {other.version}, but {info(spec.spoke)} to "
                f"{info(spec.hub).version}: a kind has one hub"
            )
        if spec.spoke is spoke:
            raise EntityError(f"{one} has a converter already")

    def decorate(decorated: H) -> H:
        made = decorated() if isinstance(decorated, type) else decorated
        functions = []
        for name in ("to_hub", "from_hub"):
            function = getattr(made, name, None)
            if function is None or inspect.iscoroutinefunction(function):
                raise EntityError(
                    f"{decorated.__qualname__} needs def {name}: a conversion computes, "
                    "it does not wait"
                )
            functions.append(function)
        specs.append(ConverterSpec(spoke, hub, *functions))
        return decorated

    return decorate
