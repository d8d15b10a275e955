"""The chain of plugins and what they are told about a write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import orjson

from cove.kube import status as st
from cove.kube.kinds._kind import Obj
from cove.kube.status import StatusError
from cove.server.conversion import ConversionNeeded
from cove.server.request import Request

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["Admission", "Attributes", "Operation", "Plugin", "Repeats"]

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]


class Attributes:
    """One write: what is to be written over what, by whom.

    ``obj`` is None for DELETE, ``old`` for CREATE.  Plugins may change ``obj`` in place
    while admitting, not while validating.  ``options`` are the verb's as a document, None
    where the request's query says them all.
    """

    __slots__ = (
        "again",
        "api",
        "dry_run",
        "endpoint",
        "name",
        "namespace",
        "namespaces",
        "obj",
        "old",
        "operation",
        "options",
        "repeat",
        "repeats",
        "request",
        "subresource",
    )

    def __init__(
        self,
        api: Api,
        request: Request,
        endpoint: Endpoint,
        operation: Operation,
        *,
        namespace: str,
        name: str,
        obj: Obj | None,
        old: Obj | None,
        subresource: str = "",
        dry_run: bool = False,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.api = api
        self.request = request
        self.endpoint = endpoint
        self.operation: Operation = operation
        self.namespace = namespace
        self.name = name
        self.obj = obj
        self.old = old
        self.subresource = subresource
        self.dry_run = dry_run
        self.options = options
        # All namespaces when it began, to see whether they are the same still.
        self.namespaces = api.store.state.bucket("namespaces")
        # A plugin's change that others may have to see: the chain runs once more for it.
        self.repeat = False
        # Whether this is that second run, and what plugins remember of the first.
        self.again = False
        self.repeats: dict[str, Repeats] = {}

    def repeats_of(self, plugin: str) -> Repeats:
        """What a plugin's webhooks or policies did so far."""
        found = self.repeats.get(plugin)
        if found is None:
            found = self.repeats[plugin] = Repeats()
        return found

    def forbidden(self, why: str) -> StatusError:
        """403 about this object."""
        return st.forbidden(self.endpoint.plural, self.endpoint.group, self.shown_name(), why)

    def shown_name(self) -> str:
        """The object's name, or its generateName while it has none."""
        if self.name:
            return self.name
        meta = (self.obj or {}).get("metadata", {})
        return str(meta.get("name") or meta.get("generateName") or "")


class Repeats:
    """Which of a plugin's webhooks or policies have to run again.

    Only those that ask for it (``reinvocationPolicy: IfNeeded``), that ran before, and
    after which somebody else changed the object.

    Source: ``plugin/webhook/mutating/reinvocationcontext.go`` of apiserver.
    """

    __slots__ = ("_due", "_left", "_ran")

    def __init__(self) -> None:
        self._ran: set[str] = set()
        self._due: set[str] = set()
        self._left = b""

    def start(self, a: Attributes) -> None:
        """A run begins: what others changed since the last one makes all due."""
        if a.again and self._ran and _bytes(a.obj) != self._left:
            self._require()

    def runs(self, a: Attributes, key: str) -> bool:
        """Whether one that the write is about shall run."""
        return not a.again or key in self._due

    def changed(self, a: Attributes) -> None:
        """One changed the object."""
        self._require()
        a.repeat = True

    def ran(self, key: str) -> None:
        """One ran that would do so again."""
        self._ran.add(key)

    def end(self, a: Attributes) -> None:
        """The run is over."""
        if self._ran:
            self._left = _bytes(a.obj)

    def _require(self) -> None:
        self._due |= self._ran
        self._ran = set()


def _bytes(obj: Obj | None) -> bytes:
    return orjson.dumps(obj, option=orjson.OPT_SORT_KEYS)


class Plugin:
    """One admission plugin; overrides what it does, tells what it is about.

    ``storages`` None means every resource.  Methods may return an awaitable where they
    have to ask someone else (webhooks).
    """

    name = ""
    operations: frozenset[Operation] = frozenset(("CREATE", "UPDATE", "DELETE"))
    storages: frozenset[str] | None = None
    # Its ``admit`` does not await, changes nothing, and may be asked again by another state.
    rechecks = False
    # None: every subresource, including none; else exactly these ("" is the resource itself).
    subresources: frozenset[str] | None = frozenset(("",))

    def admit(self, a: Attributes) -> Awaitable[None] | None:
        """Change the object, or refuse."""

    def validate(self, a: Attributes) -> Awaitable[None] | None:
        """Refuse, by raising StatusError."""


async def _repeated(
    judge: Callable[[Attributes], Awaitable[None] | None], a: Attributes, needed: ConversionNeeded
) -> None:
    """A plugin that came upon a custom resource in a version that has to be asked for."""
    while True:
        await needed.resolve(a.api)
        try:
            pending = judge(a)
        except ConversionNeeded as error:
            needed = error
            continue
        if pending is not None:
            await pending
        return


class Admission:
    """The plugins of a cluster, looked up by what a write is about."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self.plugins = tuple(plugins)
        self._admit: dict[tuple[str, Operation, str], tuple[Plugin, ...]] = {}
        self._validate: dict[tuple[str, Operation, str], tuple[Plugin, ...]] = {}

    def has(self, name: str) -> bool:
        """Whether a plugin is on."""
        return any(p.name == name for p in self.plugins)

    def _find(
        self, storage: str, operation: Operation, subresource: str, method: str
    ) -> tuple[Plugin, ...]:
        base = getattr(Plugin, method)
        return tuple(
            p
            for p in self.plugins
            if getattr(type(p), method) is not base
            and operation in p.operations
            and (p.storages is None or storage in p.storages)
            and (p.subresources is None or subresource in p.subresources)
        )

    async def admit(self, a: Attributes) -> None:
        """Let every plugin change the object; raises StatusError if one refuses."""
        key = (a.endpoint.storage, a.operation, a.subresource)
        plugins = self._admit.get(key)
        if plugins is None:
            plugins = self._admit[key] = self._find(*key, "admit")
        for plugin in plugins:
            try:
                pending = plugin.admit(a)
            except ConversionNeeded as needed:
                pending = _repeated(plugin.admit, a, needed)
            if pending is not None:
                await pending
        if a.repeat:
            a.again = True
            for plugin in plugins:
                try:
                    pending = plugin.admit(a)
                except ConversionNeeded as needed:
                    pending = _repeated(plugin.admit, a, needed)
                if pending is not None:
                    await pending

    def recheck(self, a: Attributes) -> None:
        """Judge the namespace again if something happened to one while somebody was asked."""
        if a.namespaces is a.api.store.state.bucket("namespaces"):
            return
        for plugin in self._admit.get((a.endpoint.storage, a.operation, a.subresource), ()):
            if plugin.rechecks:
                plugin.admit(a)

    async def validate(self, a: Attributes) -> None:
        """Let every plugin judge the object; raises StatusError if one refuses."""
        key = (a.endpoint.storage, a.operation, a.subresource)
        plugins = self._validate.get(key)
        if plugins is None:
            plugins = self._validate[key] = self._find(*key, "validate")
        for plugin in plugins:
            try:
                pending = plugin.validate(a)
            except ConversionNeeded as needed:
                pending = _repeated(plugin.validate, a, needed)
            if pending is not None:
                await pending
