"""What every write shares: metadata, managed fields, admission, validation, the store.

The order is upstream's (``pkg/endpoints/handlers`` and ``pkg/registry/generic/registry``):
managed fields are computed before admission, the strategy prepares before validation,
the refusing half of admission comes last, and an update that changes nothing moves no
resource version.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from cove.kube import field_errors as fe
from cove.kube import status as st
from cove.kube.apply import Context, keep_timestamps, update_managed_fields
from cove.kube.apply.fieldset import from_paths
from cove.kube.field_errors import FieldError
from cove.kube.kinds._kind import Obj
from cove.kube.metadata import validate_object_meta, validate_object_meta_update
from cove.kube.names import generate_name, is_path_segment_name
from cove.kube.status import StatusError
from cove.server.admission import Attributes
from cove.server.conversion import ConversionNeeded
from cove.server.options import WriteOptions
from cove.server.request import Request
from cove.server.store import Stored
from cove.server.uids import new_uid

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = [
    "Subject",
    "Update",
    "View",
    "admit_new",
    "anew",
    "answered",
    "check_uid",
    "create_object",
    "managed_context",
    "store_object",
    "update_object",
]

MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


class Subject:
    """What a write is about and how: kept together because every step needs all of it."""

    __slots__ = ("api", "endpoint", "options", "request", "subresource")

    def __init__(
        self,
        api: Api,
        request: Request,
        endpoint: Endpoint,
        options: WriteOptions,
        subresource: str = "",
    ) -> None:
        self.api = api
        self.request = request
        self.endpoint = endpoint
        self.options = options
        self.subresource = subresource

    def attributes(self, operation: Any, obj: Obj | None, old: Obj | None, name: str) -> Attributes:
        """What admission is told."""
        info = self.request.info
        return Attributes(
            self.api,
            self.request,
            self.endpoint,
            operation,
            namespace=info.namespace
            if self.endpoint.namespaced or self.endpoint.plural != "namespaces"
            else name,
            name=name,
            obj=obj,
            old=old,
            subresource=self.subresource,
            dry_run=self.options.dry_run,
        )


def managed_context(subject: Subject) -> Context:
    """What managed fields have to know of a write."""
    endpoint = subject.endpoint
    return Context(
        manager=subject.options.manager,
        api_version=endpoint.api_version,
        subresource=subject.subresource,
        now=subject.api.timestamp(),
        schema=endpoint.schema,
        schema_for=endpoint.schema_at,
        convert=endpoint.convert,
        reset=_reset(endpoint, subject.subresource),
        custom=endpoint.custom,
    )


def _reset(endpoint: Endpoint, subresource: str) -> dict[str, Any]:
    """The kind's reset fields as a field set."""
    key = f"reset/{subresource}"
    cache = endpoint.schema.cache
    found: dict[str, Any] | None = cache.get(key)
    if found is None:
        paths = [tuple(path.split(".")) for path in endpoint.kind.reset_fields(subresource)]
        found = cache[key] = from_paths(*paths)
    return found


def check_namespace(subject: Subject, meta: Obj) -> None:
    """Give the object the request's namespace; raises 400 if it says another."""
    if not subject.endpoint.namespaced:
        meta.pop("namespace", None)
        return
    namespace = subject.request.info.namespace
    given = meta.get("namespace")
    if given is None:
        meta["namespace"] = namespace
    elif given != namespace:
        raise st.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


# -- creating


async def create_object(subject: Subject, obj: Obj, *, url_name: str = "") -> bytes:
    """Write a new object; the answer is what was (or under dry run would be) stored."""
    meta = obj["metadata"]
    check_namespace(subject, meta)
    update_managed_fields(None, obj, managed_context(subject))
    endpoint = subject.endpoint
    if endpoint.stamps_requester:
        endpoint.kind.requested_by(obj, subject.request.user.info())
    return await admit_new(subject, obj, url_name or meta.get("name", ""))


async def admit_new(subject: Subject, obj: Obj, name: str) -> bytes:
    """A create from admission on; ``name`` is what admission is told, "" while there is none."""
    attributes = subject.attributes("CREATE", obj, None, name)
    await subject.api.admission.admit(attributes)
    # A webhook may not move it elsewhere.
    check_namespace(subject, obj["metadata"])
    return await insert(subject, obj, attributes)


async def insert(subject: Subject, obj: Obj, attributes: Attributes) -> bytes:
    """The storage's half of a create: after admission has changed the object."""
    api, endpoint = subject.api, subject.endpoint
    fill_system_fields(api, obj)
    finish = api.registry.begin(api, endpoint, obj, None, dry_run=subject.options.dry_run)
    done = False
    try:
        data = await _insert(subject, obj, attributes)
        done = True
    finally:
        finish(done)
    return data


async def _insert(subject: Subject, obj: Obj, attributes: Attributes) -> bytes:
    api, endpoint = subject.api, subject.endpoint
    kind, meta = endpoint.kind, obj["metadata"]
    before_create(endpoint, obj)
    attributes.name = meta.get("name", "")
    for text in kind.warnings(obj, None):
        subject.request.warn(text)
    await api.admission.validate(attributes)
    form = await _storable(api, endpoint, obj) if endpoint.converts else obj
    api.admission.recheck(attributes)
    name, namespace = meta["name"], meta.get("namespace", "")
    existing = api.store.state.get(endpoint.storage, namespace, name)
    if existing is not None:
        error = st.already_exists(endpoint.plural, endpoint.group, name)
        ending = b'"deletionTimestamp"' in existing.data
        if ending and "deletionTimestamp" in endpoint.as_stored().load(existing.data)["metadata"]:
            error = StatusError(
                409, "AlreadyExists", f"object is being deleted: {error.message}", error.details
            )
        raise error
    if subject.options.dry_run:
        meta.pop("resourceVersion", None)
        form["metadata"].pop("resourceVersion", None)
        return await answered(api, endpoint, endpoint.encode(form))
    stored = store_object(api, endpoint, form)
    if stored.revision > api.store.durable_revision:
        await api.store.durable(stored.revision)
    return await answered(api, endpoint, stored.data)


async def answered(api: Api, endpoint: Endpoint, data: bytes) -> bytes:
    """What was stored in the version it was asked for in."""
    if not endpoint.converts:
        return data
    return (await endpoint.shown(api, [Stored("", "", "", 0, data, None, None)]))[0].data


async def _storable(api: Api, endpoint: Endpoint, obj: Obj) -> Obj:
    """An object in the version that is stored, asked for if need be."""
    await endpoint.convertible(api, (obj,), endpoint.storage_version)
    form = endpoint.convert(obj, endpoint.storage_version)
    return form if form is obj else {**form, "metadata": dict(form["metadata"])}


def fill_system_fields(api: Api, obj: Obj) -> None:
    """What the server alone says of a new object: uid, time, a generated name."""
    meta = obj["metadata"]
    meta.pop("deletionTimestamp", None)
    meta.pop("deletionGracePeriodSeconds", None)
    meta.pop("resourceVersion", None)
    meta.pop("selfLink", None)
    meta["uid"] = new_uid()
    meta["creationTimestamp"] = api.timestamp()
    if meta.get("generateName") and not meta.get("name"):
        meta["name"] = generate_name(meta["generateName"], api.config.rng)


def before_create(endpoint: Endpoint, obj: Obj) -> None:
    """The strategy's preparation, and validation (``rest.BeforeCreate``)."""
    kind, meta = endpoint.kind, obj["metadata"]
    if kind.generation:
        meta["generation"] = 1
    else:
        meta.pop("generation", None)
    kind.prepare_create(obj)
    errors = validate_object_meta(
        meta,
        namespaced=endpoint.namespaced,
        name_check=kind.validate_name,
        core_finalizers=not endpoint.custom,
    )
    errors += kind.validate_create(obj)
    if not errors and (name := meta.get("name")):
        errors = [fe.invalid("metadata.name", name, why) for why in is_path_segment_name(name)]
    if errors:
        raise st.invalid(endpoint.kind_name, told_group(endpoint), meta.get("name", ""), errors)


def store_object(api: Api, endpoint: Endpoint, obj: Obj) -> Stored:
    """Write the object as it is at the next revision."""
    meta = obj["metadata"]

    def encode(revision: str) -> bytes:
        meta["resourceVersion"] = revision
        return endpoint.encode(obj)

    stored = api.store.put(
        endpoint.storage,
        meta.get("namespace", ""),
        meta["name"],
        meta["uid"],
        encode,
        meta.get("labels"),
        endpoint.fields_of(obj),
    )
    api.registry.wrote(api, endpoint, obj)
    return stored


# -- updating

Make = Callable[[Obj], Awaitable[Obj]]


def anew(first: Obj, read: Callable[[], Obj]) -> Callable[[], Obj]:
    """``first``, and then what ``read`` makes of the request's body: what a try has changed
    is of no use to the next."""
    waiting = [first]
    return lambda: waiting.pop() if waiting else read()


class View(NamedTuple):
    """A subresource with a document of its own: what it shows of an object, and the object
    with a document's content."""

    show: Callable[[Obj], Obj]
    take: Callable[[Obj, Obj], Obj]


class Update:
    """How an update of a (sub)resource differs: the strategy's methods for it.

    ``make`` turns the live object into the new one, managed fields included; it is called
    again, for a document of its own each time, if somebody wrote while a webhook was asked.
    """

    __slots__ = ("create", "make", "prepare", "unconditional", "validate", "view")

    def __init__(
        self,
        make: Make,
        prepare: Callable[[Obj, Obj], None],
        validate: Callable[[Obj, Obj], list[FieldError]],
        *,
        unconditional: bool = True,
        create: Callable[[], Awaitable[bytes]] | None = None,
        view: View | None = None,
    ) -> None:
        self.make = make
        self.prepare = prepare
        self.validate = validate
        # False: an object without a resourceVersion is refused.
        self.unconditional = unconditional
        # What to do when the object is missing; None: 404.
        self.create = create
        # How admission sees the object; None: as it is.
        self.view = view


RETRIES = 5


async def update_object(subject: Subject, name: str, update: Update) -> tuple[bytes, bool]:
    """Write over an object; (what is stored now, whether it was created)."""
    api, endpoint = subject.api, subject.endpoint
    namespace = subject.request.info.namespace if endpoint.namespaced else ""
    store = api.store
    for attempt in range(RETRIES + 1):
        stored = store.state.get(endpoint.storage, namespace, name)
        if stored is None:
            if update.create is None:
                raise endpoint.not_found(name)
            try:
                return await update.create(), True
            except StatusError as e:
                # Created by somebody else meanwhile: then this is an update after all.
                taken = e.reason == "AlreadyExists" and attempt < RETRIES
                if not taken or store.state.get(endpoint.storage, namespace, name) is None:
                    raise
                continue
        if endpoint.converts:
            (shown,) = await endpoint.shown(api, [stored])
            live = endpoint.load(shown.data)
            obj = await _make(api, update, live)
        else:
            live = endpoint.load(stored.data)
            obj = await update.make(live)
        meta = obj["metadata"]
        asked = meta.get("resourceVersion") or ""
        if not asked and not update.unconditional:
            raise st.invalid(
                endpoint.plural,
                endpoint.group,
                name,
                [fe.invalid("metadata.resourceVersion", 0, "must be specified for an update")],
            )
        if asked and asked != str(stored.revision):
            raise st.conflict(endpoint.plural, endpoint.group, name, MODIFIED)
        meta["resourceVersion"] = str(stored.revision)
        view = update.view
        if view is None:
            attributes = subject.attributes("UPDATE", obj, live, name)
            await api.admission.admit(attributes)
        else:
            attributes = subject.attributes("UPDATE", view.show(obj), view.show(live), name)
            await api.admission.admit(attributes)
            obj = view.take(obj, attributes.obj or {})
            meta = obj["metadata"]
            meta["resourceVersion"] = str(stored.revision)
        finish = api.registry.begin(api, endpoint, obj, live, dry_run=subject.options.dry_run)
        done = False
        try:
            before_update(subject, update, obj, live)
            for text in endpoint.kind.warnings(obj, live):
                subject.request.warn(text)
            await api.admission.validate(attributes)
            form = obj
            if endpoint.converts:
                keep_timestamps(live, obj)
                form = await _storable(api, endpoint, obj)
            if store.state.get(endpoint.storage, namespace, name) is stored:
                data = await _commit(subject, obj, live, stored, form)
                done = True
                return data, False
            # Somebody wrote while a webhook was asked.  Who asked for a certain version is
            # refused when it is compared again.
            if attempt == RETRIES:
                raise st.conflict(endpoint.plural, endpoint.group, name, MODIFIED)
        finally:
            finish(done)
    raise AssertionError("unreachable")


def check_uid(endpoint: Endpoint, meta: Obj, live: Obj) -> None:
    """Raise 409 if the object of a PUT says another uid than the stored one has."""
    uid, stored = meta.get("uid"), live["metadata"]["uid"]
    if uid and uid != stored:
        raise st.conflict(
            endpoint.plural,
            endpoint.group,
            live["metadata"]["name"],
            f"Precondition failed: UID in precondition: {uid}, UID in object meta: {stored}",
        )


def before_update(subject: Subject, update: Update, obj: Obj, live: Obj) -> None:
    """System fields, the strategy's preparation, validation (``rest.BeforeUpdate``)."""
    endpoint = subject.endpoint
    meta, old = obj["metadata"], live["metadata"]
    _carry(meta, old, "generation")
    if endpoint.namespaced:
        meta["namespace"] = old["namespace"]
    update.prepare(obj, live)
    meta.setdefault("uid", old["uid"])
    _carry(meta, old, "creationTimestamp")
    if "deletionTimestamp" in old:
        meta["deletionTimestamp"] = old["deletionTimestamp"]
        if "deletionGracePeriodSeconds" in old:
            meta.setdefault("deletionGracePeriodSeconds", old["deletionGracePeriodSeconds"])
    meta.pop("selfLink", None)
    errors = validate_object_meta_update(meta, old, core_finalizers=not endpoint.custom)
    errors += update.validate(obj, live)
    if errors:
        raise st.invalid(endpoint.kind_name, told_group(endpoint), meta.get("name", ""), errors)


def told_group(endpoint: Endpoint) -> str:
    """The group that errors about an object's fields name."""
    told = endpoint.kind.told_group
    return endpoint.group if told is None else told


def _carry(meta: Obj, old: Obj, field: str) -> None:
    if field in old:
        meta[field] = old[field]
    else:
        meta.pop(field, None)


async def _make(api: Api, update: Update, live: Obj) -> Obj:
    """What an update makes of an object, once all conversions are known that takes."""
    while True:
        try:
            return await update.make(live)
        except ConversionNeeded as needed:
            await needed.resolve(api)


async def _commit(subject: Subject, obj: Obj, live: Obj, stored: Stored, form: Obj) -> bytes:
    """``form`` is ``obj`` as it is stored."""
    api, endpoint = subject.api, subject.endpoint
    meta = obj["metadata"]
    keep_timestamps(live, obj)
    if obj == live and endpoint.current(stored.data):
        return await answered(api, endpoint, stored.data)
    if subject.options.dry_run:
        return await answered(api, endpoint, endpoint.encode(form))
    if (
        "deletionTimestamp" in meta
        and not meta.get("finalizers")
        and not meta.get("deletionGracePeriodSeconds")
        and endpoint.kind.may_end(obj)
    ):
        # The last finalizer is gone: this update is the object's end, told as it was.
        written = remove(api, endpoint, form)
        data = endpoint.encode(form)
    else:
        written = store_object(api, endpoint, form)
        data = written.data
    if written.revision > api.store.durable_revision:
        await api.store.durable(written.revision)
    return await answered(api, endpoint, data)


def remove(api: Api, endpoint: Endpoint, obj: Obj) -> Stored:
    """Delete an object from the store; its last form carries the deletion's revision."""
    meta = obj["metadata"]
    before = meta.get("resourceVersion")

    def encode(revision: str) -> bytes:
        meta["resourceVersion"] = revision
        try:
            return endpoint.encode(obj)
        finally:
            if before is not None:
                meta["resourceVersion"] = before

    stored = api.store.delete(endpoint.storage, meta.get("namespace", ""), meta["name"], encode)
    api.registry.ended(api, endpoint, obj)
    return stored
