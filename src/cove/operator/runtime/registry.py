"""What an operator consists of, as declared: plain values that the runtime is built from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cove.operator.entities import Entity
from cove.operator.runtime.predicates import Predicate, generation_changed
from cove.operator.runtime.results import Retry

__all__ = ["ControllerSpec", "FinalizerSpec", "Watch", "finalizer_name"]

Handler = Callable[..., Any]
# From an object to the names of those to be reconciled for it: "name" (of its own
# namespace), "namespace/name", or (namespace, name).
Mapper = Callable[[Any], Iterable[str | tuple[str, str]]]

LONGEST_FINALIZER = 63


@dataclass(frozen=True, slots=True)
class Watch:
    """Another kind whose changes are worth a reconcile: ``map`` says of which objects."""

    cls: type[Entity]
    map: Mapper
    label_selector: str = ""
    field_selector: str = ""


@dataclass(frozen=True, slots=True)
class FinalizerSpec:
    """What is done before an object may go: ``name`` in its metadata, and the handler.

    ``automatic`` puts it on every object; otherwise it is put on those that a handler chooses
    (``ctx.add_finalizer``).
    """

    name: str
    handler: Handler
    automatic: bool = True


@dataclass(slots=True)
class ControllerSpec:
    """A controller of one kind; ``name`` is unique in an operator, for logs and metrics.

    ``factory`` makes the instance that the handlers are methods of, None for functions.
    """

    name: str
    cls: type[Entity]
    reconcile: Handler | None = None
    status_modified: Handler | None = None
    deleted: Handler | None = None
    finalizers: list[FinalizerSpec] = field(default_factory=list)
    factory: Callable[..., Any] | None = None
    owns: tuple[type[Entity], ...] = ()
    watches: tuple[Watch, ...] = ()
    predicate: Predicate = generation_changed
    label_selector: str = ""
    field_selector: str = ""
    workers: int = 1
    retry: Retry = field(default_factory=Retry)
    timeout: float | None = None
    indexes: Mapping[str, Callable[[Any], Iterable[str]]] = field(default_factory=dict)
    rbac: tuple[Any, ...] = ()


def finalizer_name(group: str, name: str) -> str:
    """``{group}/{name}finalizer``, at most 63 characters, the beginning of a long name kept.

    The rule is the reference SDK's, so that objects may change hands.
    """
    text = name.lower()
    if not text.endswith("finalizer"):
        text += "finalizer"
    made = f"{group}/{text}"
    return made[:LONGEST_FINALIZER]
