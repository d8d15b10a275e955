"""Registry: which resources there are, and which function answers for what.

Built-in resources come from the catalogue, custom ones from the CRDs in the store; what
other rooms add to writes (address allocation, CRD names, quota) hangs in as
:class:`Hook`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from cove.kube import catalogue
from cove.kube import status as st
from cove.kube.kinds._kind import Obj
from cove.kube.status import StatusError
from cove.server.admission.connect import CONNECTED, connect
from cove.server.conversion import ConversionNeeded
from cove.server.endpoint import BuiltinEndpoint, Endpoint, storage_key
from cove.server.request import Info, Request, Response
from cove.server.verbs.create import create
from cove.server.verbs.delete import delete
from cove.server.verbs.deletecollection import deletecollection
from cove.server.verbs.get import get
from cove.server.verbs.list import list_
from cove.server.verbs.patch import patch
from cove.server.verbs.update import update
from cove.server.verbs.watch import watch

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.custom import CustomResources

__all__ = ["Handler", "Hook", "Registry", "method_not_allowed"]

Handler = Callable[["Api", Request, Endpoint], Awaitable[Response]]
Plain = Callable[["Api", Request], Awaitable[Response]]
Finish = Callable[[bool], None]

_VERBS: dict[str, Handler] = {
    "get": get,
    "list": list_,
    "watch": watch,
    "create": create,
    "update": update,
    "patch": patch,
    "delete": delete,
    "deletecollection": deletecollection,
}


def method_not_allowed() -> StatusError:
    """405 for a method that the path does not have."""
    return StatusError(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
        {},
    )


def page_not_found() -> Response:
    """404 for a path nobody serves."""
    return Response(404, b"404 page not found\n", "text/plain; charset=utf-8")


def _nothing(_success: bool) -> None:
    return None


class Hook:
    """What a room does around the writes of one resource (by storage key).

    ``begin`` runs before an object is validated and may change it or refuse; it gives a
    function that is told how the write went, to take back what was reserved or to let go
    what is not needed any more.  ``wrote`` runs right after an object was stored, by
    whatever verb; ``ended`` when an object is gone.  None of them awaits.
    """

    def begin(
        self, api: Api, endpoint: Endpoint, obj: Obj, old: Obj | None, *, dry_run: bool
    ) -> Finish:
        """Before the write; ``old`` is None for a create."""
        return _nothing

    def wrote(self, api: Api, endpoint: Endpoint, obj: Obj) -> None:
        """After the object was stored; ``obj`` is not to be changed."""

    def ended(self, api: Api, endpoint: Endpoint, obj: Obj) -> None:
        """After the object was removed."""


class Registry:
    """The resources and handlers of a cluster.

    ``subresources`` maps (storage key, subresource) and ``specials`` storage keys whose
    main verbs are not the generic ones (reviews, bindings) to handlers by verb; ``plain``
    answers every path that is not a resource, ``metrics`` what is of metrics.k8s.io.
    """

    def __init__(
        self,
        *,
        subresources: dict[tuple[str, str], dict[str, Handler]],
        specials: dict[str, dict[str, Handler]],
        plain: Plain,
        metrics: Plain,
        hooks: dict[str, Hook],
        custom: CustomResources,
    ) -> None:
        self._subresources = subresources
        self._specials = specials
        self.plain = plain
        self.metrics = metrics
        self._hooks = hooks
        self.custom = custom
        self._builtin: dict[tuple[str, str, str], BuiltinEndpoint] = {}

    def builtin(self, group: str, version: str, plural: str) -> BuiltinEndpoint | None:
        """A resource of the catalogue, None if there is none."""
        key = (group, version, plural)
        endpoint = self._builtin.get(key)
        if endpoint is None:
            resource = catalogue.resource(group, version, plural)
            if resource is None:
                return None
            stored_group, stored_version, _ = resource.stored_as
            endpoint = self._builtin[key] = BuiltinEndpoint(
                resource,
                storage_key(plural, stored_group),
                f"{stored_group}/{stored_version}" if stored_group else stored_version,
            )
        return endpoint

    def get(self, api: Api, group: str, version: str, plural: str) -> Endpoint | None:
        """A resource, built-in or custom, None if there is none."""
        return self.builtin(group, version, plural) or self.custom.find(api, group, version, plural)

    def find(self, api: Api, info: Info, path: str) -> Endpoint | Response:
        """What a request is about; raises 404 for what is not there."""
        if path.startswith("//"):
            return page_not_found()
        endpoint = self._builtin.get((info.group, info.version, info.resource)) or self.get(
            api, info.group, info.version, info.resource
        )
        if endpoint is None:
            if info.group and not catalogue.versions(info.group):
                return page_not_found()
            raise st.not_found_generic()
        if endpoint.custom and not endpoint.serves(info):
            return page_not_found()
        return endpoint

    def hook(self, storage: str) -> Hook | None:
        """What hangs on the writes of a resource."""
        return self._hooks.get(storage)

    def begin(
        self, api: Api, endpoint: Endpoint, obj: Obj, old: Obj | None, *, dry_run: bool
    ) -> Finish:
        """Run the resource's hook before a write."""
        hook = self._hooks.get(endpoint.storage)
        if hook is None:
            return _nothing
        return hook.begin(api, endpoint, obj, old, dry_run=dry_run)

    def wrote(self, api: Api, endpoint: Endpoint, obj: Obj) -> None:
        """Run the resource's hook after a write."""
        hook = self._hooks.get(endpoint.storage)
        if hook is not None:
            hook.wrote(api, endpoint, obj)

    def ended(self, api: Api, endpoint: Endpoint, obj: Obj) -> None:
        """Run the resource's hook after a removal; custom resources have one for all."""
        hook = self._hooks.get("*" if endpoint.custom else endpoint.storage)
        if hook is not None:
            hook.ended(api, endpoint, obj)

    async def dispatch(self, api: Api, request: Request, endpoint: Endpoint) -> Response:
        """Answer a request about a resource."""
        if not endpoint.converts:
            return await self._dispatch(api, request, endpoint)
        while True:
            try:
                return await self._dispatch(api, request, endpoint)
            except ConversionNeeded as needed:
                # The verbs ask before; this is for what seldom reads another version.
                await needed.resolve(api)

    async def path(self, api: Api, request: Request) -> Response:
        """Answer a path that is not a resource."""
        while True:
            try:
                return await self.plain(api, request)
            except ConversionNeeded as needed:
                # The history of a custom resource in a version that has to be asked for.
                await needed.resolve(api)

    async def _dispatch(self, api: Api, request: Request, endpoint: Endpoint) -> Response:
        info = request.info
        if endpoint.warning:
            request.warn(endpoint.warning)
        if endpoint.deprecation:
            request.warn(endpoint.deprecation)
        if info.subresource:
            return await self._subresource(api, request, endpoint)
        verb = info.verb
        if request.method == "HEAD":
            raise method_not_allowed()
        special = self._specials.get(endpoint.storage)
        if special is not None:
            if info.name and verb == "create":
                raise st.not_found_generic()
            handler = special.get(verb)
            if handler is None:
                if info.name and "get" not in endpoint.verbs:
                    raise st.not_found_generic()
                raise method_not_allowed()
            return await handler(api, request, endpoint)
        if verb not in endpoint.verbs:
            raise method_not_allowed()
        if not _fits(request, info, endpoint):
            raise method_not_allowed()
        if (
            endpoint.namespaced
            and not info.namespace
            and (info.name or verb in ("create", "deletecollection"))
        ):
            if "/namespaces//" in request.path:
                raise st.bad_request("Namespace parameter required.")
            if verb in ("list", "watch"):  # selected by a field selector on the name
                return await _VERBS[verb](api, request, endpoint)
            if info.name and verb != "create":
                raise st.not_found_generic()
            raise method_not_allowed()
        if not endpoint.namespaced and info.namespace and endpoint.plural != "namespaces":
            raise st.not_found_generic()
        return await _VERBS[verb](api, request, endpoint)

    async def _subresource(self, api: Api, request: Request, endpoint: Endpoint) -> Response:
        info = request.info
        subresource = info.subresource
        if subresource not in endpoint.subresources:
            if endpoint.custom:
                raise endpoint.not_found(info.name)
            raise st.not_found_generic()
        known = self._subresources.get((endpoint.storage, subresource)) or self._subresources.get(
            ("*", subresource)
        )
        handler = None if known is None else known.get(info.verb)
        if handler is None or request.method == "HEAD":
            raise method_not_allowed()
        if (endpoint.storage, subresource) in CONNECTED:
            await connect(api, request, endpoint)
        return await handler(api, request, endpoint)


def _fits(request: Request, info: Info, endpoint: Endpoint) -> bool:
    """Whether the method belongs to the path: collections are posted to, objects are put."""
    method = request.method
    if info.verb in ("list", "watch", "deletecollection"):
        return True
    if method == "POST":
        return not info.name or (
            endpoint.plural == "namespaces" and info.namespace == "" and not info.name
        )
    return bool(info.name)


async def status_get(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """GET of a subresource that is a view of the whole object."""
    return await get(api, request, endpoint)


async def status_update(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """PUT of the status."""
    return await update(api, request, endpoint, "status")


async def status_patch(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """PATCH of the status."""
    return await patch(api, request, endpoint, "status")


STATUS: dict[str, Handler] = {"get": status_get, "update": status_update, "patch": status_patch}


def subresource_names(endpoint: Endpoint) -> Sequence[str]:
    """The subresources of an endpoint."""
    return tuple(endpoint.subresources)
