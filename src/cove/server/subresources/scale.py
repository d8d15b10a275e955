"""The scale subresource: a workload's replicas as an autoscaling/v1 Scale.

Source: https://kubernetes.io/docs/reference/kubernetes-api/autoscaling-resources/ and
``pkg/registry/apps/deployment/storage``.  Custom resources use the same handlers with the
paths their CRD gives.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from cove.kube import catalogue, labels
from cove.kube import field_errors as fe
from cove.kube import status as st
from cove.kube.apply import Context, apply, parent_entries, scale_entries, update_managed_fields
from cove.kube.catalogue import codec
from cove.kube.field_errors import FieldError
from cove.kube.kinds._kind import Column, Kind, Obj
from cove.kube.schema import Node
from cove.kube.times import human_duration, parse_time
from cove.server.endpoint import Endpoint
from cove.server.negotiate import accept
from cove.server.options import WriteOptions, write_options
from cove.server.registry import Handler
from cove.server.request import Request, Response
from cove.server.subresources._common import decode_as, stored_or_404
from cove.server.verbs._render import document_response
from cove.server.verbs._write import Subject, Update, View, anew, update_object
from cove.server.verbs.patch import APPLY, compile_patch, configuration, patch_type

if TYPE_CHECKING:
    from datetime import datetime

    from cove.server.api import Api

__all__ = ["ScalePaths", "handlers"]

GROUP, VERSION, API_VERSION = "autoscaling", "v1", "autoscaling/v1"


class ScalePaths(NamedTuple):
    """Where an object keeps what its Scale shows; ``selector`` gives the selector's text."""

    spec: tuple[str, ...]
    status: tuple[str, ...]
    selector: Callable[[Obj], str]


def label_selector(obj: Obj) -> str:
    """The selector of a workload, a LabelSelector document, as text."""
    return str(labels.from_document(obj.get("spec", {}).get("selector")))


def map_selector(obj: Obj) -> str:
    """The selector of a ReplicationController, a plain map, as text."""
    return str(labels.from_map(obj.get("spec", {}).get("selector")))


class _ScaleKind(Kind):
    """Validation and table of the Scale itself."""

    @property
    def columns(self) -> Sequence[Column]:
        name, age = Kind().columns
        return (
            Column("Name", "string", "", name.description),
            Column(
                "Desired",
                "integer",
                "",
                "replicas is the desired number of instances for the scaled object.",
            ),
            Column(
                "Available",
                "integer",
                "",
                "replicas is the actual number of observed instances of the scaled object.",
            ),
            Column("Age", "string", "", age.description),
        )

    def validate_create(self, obj: Obj) -> list[FieldError]:
        """``spec.replicas`` counts."""
        replicas = obj["spec"].get("replicas", 0)
        if replicas < 0:
            return [fe.invalid("spec.replicas", replicas, "must be greater than or equal to 0")]
        return []

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        """Name, desired, current, age."""
        meta = obj["metadata"]
        created = meta.get("creationTimestamp")
        age = (
            human_duration((now - parse_time(created)).total_seconds()) if created else "<unknown>"
        )
        return [
            meta["name"],
            obj["spec"].get("replicas", 0),
            obj["status"].get("replicas", 0),
            age,
        ]


class ScaleEndpoint(Endpoint):
    """Scale as a resource of its own, for decoding, patching and rendering."""

    def __init__(self, of: Endpoint) -> None:
        super().__init__(
            GROUP,
            VERSION,
            of.plural,
            of.singular,
            "Scale",
            of.namespaced,
            storage=of.storage,
            storage_version=API_VERSION,
        )
        self._kind = _ScaleKind()

    @property
    def schema(self) -> Node:
        return catalogue.schema(GROUP, VERSION, "Scale")

    @property
    def kind(self) -> Kind:
        return self._kind

    def decode(
        self, doc: Any, validation: str, *, raw: bytes | None = None, problems: Any = ()
    ) -> tuple[Obj, Any]:
        found = codec.decode(
            doc,
            self.schema,
            kind="Scale",
            api_version=API_VERSION,
            field_validation=validation,  # type: ignore[arg-type]  # checked with the options
            raw=raw,
            problems=problems,
        )
        return found.obj, found.problems


def _at(obj: Obj, path: tuple[str, ...]) -> Any:
    value: Any = obj
    for part in path:
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def _put(obj: Obj, path: tuple[str, ...], value: Any) -> Obj:
    """A copy of ``obj`` with ``value`` at ``path``; everything else is shared."""
    if not path:
        return value  # type: ignore[no-any-return]  # the end of the path
    head, *rest = path
    inner = obj.get(head)
    return {**obj, head: _put(inner if isinstance(inner, dict) else {}, tuple(rest), value)}


def _paths(endpoint: Endpoint, paths: ScalePaths) -> dict[str, tuple[str, ...] | None]:
    return {endpoint.api_version: paths.spec}


def to_scale(endpoint: Endpoint, obj: Obj, paths: ScalePaths, *, managed: bool = False) -> Obj:
    """The Scale of an object; its field managers are known to writes only (``managed``)."""
    meta = obj["metadata"]
    shown: Obj = {
        key: meta[key]
        for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        if key in meta
    }
    entries = managed and scale_entries(meta.get("managedFields"), _paths(endpoint, paths))
    if entries:
        shown["managedFields"] = entries
    doc = {
        "kind": "Scale",
        "apiVersion": API_VERSION,
        "metadata": shown,
        "spec": {"replicas": _at(obj, paths.spec) or 0},
        "status": {
            "replicas": _at(obj, paths.status) or 0,
            "selector": paths.selector(obj),
        },
    }
    return codec.decode(
        doc,
        catalogue.schema(GROUP, VERSION, "Scale"),
        kind="Scale",
        api_version=API_VERSION,
        field_validation="Ignore",
    ).obj


Paths = Callable[[Endpoint], ScalePaths]


def handlers(find: Paths) -> dict[str, Handler]:
    """The verbs of a scale subresource; ``find`` gives an endpoint's paths."""

    async def get(api: Api, request: Request, endpoint: Endpoint) -> Response:
        stored = stored_or_404(api, request, endpoint)
        scale = to_scale(endpoint, endpoint.load(stored.data), find(endpoint))
        return document_response(api, request, ScaleEndpoint(endpoint), scale)

    async def update(api: Api, request: Request, endpoint: Endpoint) -> Response:
        accept(request.headers.get("Accept") or "")
        options = write_options(request, "UpdateOptions")

        def read() -> Obj:
            doc = decode_as(request, GROUP, VERSION, "Scale", options.field_validation)
            _check_name(doc, request)
            return doc

        document = anew(read(), read)

        async def change(_scale: Obj) -> Obj:
            return document()

        return await _write(api, request, endpoint, find(endpoint), options, change, "update")

    async def patch(api: Api, request: Request, endpoint: Endpoint) -> Response:
        media = patch_type(request, custom=endpoint.custom)
        accept(request.headers.get("Accept") or "")
        options = write_options(request, "PatchOptions", patch=True, apply=media == APPLY)
        target = ScaleEndpoint(endpoint)
        if media == APPLY:
            config = configuration(request, target, options, request.info.name)

            async def change(scale: Obj) -> Obj:
                return config
        else:
            patcher = compile_patch(request, target, options, media)

            async def change(scale: Obj) -> Obj:
                found = patcher(scale)
                _check_name(found, request)
                return found

        how = "apply" if media == APPLY else "patch"
        return await _write(api, request, endpoint, find(endpoint), options, change, how)

    return {"get": get, "update": update, "patch": patch}


def _check_name(doc: Obj, request: Request) -> None:
    name, namespace = request.info.name, request.info.namespace
    given = doc["metadata"].get("name")
    if given and given != name:
        raise st.bad_request(
            f"the name of the object ({given}) does not match the name on the URL ({name})"
        )
    where = doc["metadata"].get("namespace")
    if where and where != namespace:
        raise st.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    doc["metadata"].setdefault("name", name)


async def _write(
    api: Api,
    request: Request,
    endpoint: Endpoint,
    paths: ScalePaths,
    options: WriteOptions,
    change: Callable[[Obj], Awaitable[Obj]],
    how: str,
) -> Response:
    """Change an object's replicas through its Scale."""
    subject = Subject(api, request, endpoint, options, "scale")
    target = ScaleEndpoint(endpoint)
    context = Context(
        manager=options.manager,
        api_version=API_VERSION,
        schema=target.schema,
        now=api.timestamp(),
        subresource="scale",
    )

    async def make(live: Obj) -> Obj:
        scale = to_scale(endpoint, live, paths, managed=True)
        wanted = await change(scale)
        if how == "apply":
            wanted = apply(scale, wanted, context, force=bool(options.force))
            wanted, _ = target.decode(wanted, "Ignore")
        else:
            update_managed_fields(scale, wanted, context)
        errors = target.kind.validate_create(wanted)
        if errors:
            raise st.invalid("Scale", GROUP, request.info.name, errors)
        meta = wanted["metadata"]
        uid = meta.get("uid")
        if uid and uid != live["metadata"]["uid"]:
            raise st.conflict(
                endpoint.plural,
                endpoint.group,
                request.info.name,
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
                f"{live['metadata']['uid']}",
            )
        replicas = wanted["spec"].get("replicas", 0)
        obj = live
        if (_at(live, paths.spec) or 0) != replicas or _at(live, paths.spec) is None:
            obj = _put(live, paths.spec, replicas)
        entries = parent_entries(
            live["metadata"].get("managedFields"),
            meta.get("managedFields"),
            _paths(endpoint, paths),
            endpoint.api_version,
        )
        obj = {**obj, "metadata": dict(obj["metadata"])}
        if entries:
            obj["metadata"]["managedFields"] = entries
        obj["metadata"]["resourceVersion"] = meta.get("resourceVersion", "")
        if not obj["metadata"]["resourceVersion"]:
            del obj["metadata"]["resourceVersion"]
        return obj

    kind = endpoint.kind

    def take(obj: Obj, scale: Obj) -> Obj:
        replicas = scale["spec"].get("replicas", 0)
        return obj if _at(obj, paths.spec) == replicas else _put(obj, paths.spec, replicas)

    view = View(lambda obj: to_scale(endpoint, obj, paths), take)
    data, _ = await update_object(
        subject,
        request.info.name,
        Update(make, kind.prepare_update, kind.validate_update, view=view),
    )
    scale = to_scale(endpoint, endpoint.load(data), paths)
    return document_response(api, request, target, scale)


_WORKLOAD = ScalePaths(("spec", "replicas"), ("status", "replicas"), label_selector)
_CONTROLLER = ScalePaths(("spec", "replicas"), ("status", "replicas"), map_selector)


def builtin_paths(endpoint: Endpoint) -> ScalePaths:
    """The paths of a built-in workload."""
    return _CONTROLLER if endpoint.kind_name == "ReplicationController" else _WORKLOAD
