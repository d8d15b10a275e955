"""The chain of plugins and what they are told about a write."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Literal

from cove.kube import status as st
from cove.kube.kinds._kind import Obj
from cove.kube.status import StatusError
from cove.server.request import Request

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["Admission", "Attributes", "Operation", "Plugin"]

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]


class Attributes:
    """One write: what is to be written over what, by whom.

    ``obj`` is None for DELETE, ``old`` for CREATE.  Plugins may change ``obj`` in place
    while admitting, not while validating.
    """

    __slots__ = (
        "api",
        "dry_run",
        "endpoint",
        "name",
        "namespace",
        "obj",
        "old",
        "operation",
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

    def forbidden(self, why: str) -> StatusError:
        """403 about this object."""
        return st.forbidden(self.endpoint.plural, self.endpoint.group, self.shown_name(), why)

    def shown_name(self) -> str:
        """The object's name, or its generateName while it has none."""
        if self.name:
            return self.name
        meta = (self.obj or {}).get("metadata", {})
        return str(meta.get("name") or meta.get("generateName") or "")


class Plugin:
    """One admission plugin; overrides what it does, tells what it is about.

    ``storages`` None means every resource.  Methods may return an awaitable where they
    have to ask someone else (webhooks).
    """

    name = ""
    operations: frozenset[Operation] = frozenset(("CREATE", "UPDATE", "DELETE"))
    storages: frozenset[str] | None = None
    # None: every subresource, including none; else exactly these ("" is the resource itself).
    subresources: frozenset[str] | None = frozenset(("",))

    def admit(self, a: Attributes) -> Awaitable[None] | None:
        """Change the object, or refuse."""

    def validate(self, a: Attributes) -> Awaitable[None] | None:
        """Refuse, by raising StatusError."""


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
            pending = plugin.admit(a)
            if pending is not None:
                await pending

    async def validate(self, a: Attributes) -> None:
        """Let every plugin judge the object; raises StatusError if one refuses."""
        key = (a.endpoint.storage, a.operation, a.subresource)
        plugins = self._validate.get(key)
        if plugins is None:
            plugins = self._validate[key] = self._find(*key, "validate")
        for plugin in plugins:
            pending = plugin.validate(a)
            if pending is not None:
                await pending
