"""DELETE of one object: preconditions, grace, finalizers, propagation.

Source: https://kubernetes.io/docs/concepts/architecture/garbage-collection/ and
``pkg/registry/generic/registry/store.go``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson

from cove.kube import catalogue
from cove.kube import field_errors as fe
from cove.kube import status as st
from cove.kube.catalogue import codec
from cove.kube.kinds._kind import Obj
from cove.kube.status import StatusError
from cove.kube.times import format_time, parse_time
from cove.server.admission import Attributes
from cove.server.body import parse
from cove.server.negotiate import accept
from cove.server.options import META, dry_run_errors
from cove.server.request import Request, Response
from cove.server.store import Stored
from cove.server.verbs._render import document_response, object_response
from cove.server.verbs._write import MODIFIED, RETRIES, answered, remove, store_object

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["DeleteOptions", "delete", "delete_one", "delete_options"]

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
ORPHANS = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background "
    "to remove them or set propagationPolicy=Orphan to suppress this warning"
)
POLICIES = ("Background", "Foreground", "Orphan")


class DeleteOptions:
    """How to delete; None where the request says nothing."""

    __slots__ = ("document", "dry_run", "grace", "orphan", "policy", "revision", "uid")

    def __init__(self) -> None:
        self.grace: int | None = None
        self.policy: str | None = None
        self.orphan: bool | None = None
        self.uid: str | None = None
        self.revision: str | None = None
        self.dry_run = False
        # As admission is told them.
        self.document: dict[str, Any] = {}


def delete_options(request: Request) -> DeleteOptions:
    """DeleteOptions from the body or, without one, from the query; raises 400 or 422."""
    doc: dict[str, Any] = {}
    if request.body:
        parsed = parse(request, "DeleteOptions")
        if parsed.doc is not None and not isinstance(parsed.doc, dict):
            raise st.bad_request("the body of a DELETE must be DeleteOptions")
        doc = parsed.doc or {}
        if doc.get("kind") not in (None, "", "DeleteOptions"):
            raise st.bad_request(
                f"the object provided is unrecognized (must be of type DeleteOptions): "
                f"no kind {orjson.dumps(doc['kind']).decode()} is registered"
            )
        doc = codec.decode(
            doc,
            catalogue.schema("", "v1", "DeleteOptions"),
            kind="DeleteOptions",
            api_version="v1",
            field_validation="Ignore",
            raw=parsed.raw,
        ).obj
    else:
        grace = request.param("gracePeriodSeconds")
        if grace:
            try:
                doc["gracePeriodSeconds"] = int(grace)
            except ValueError as e:
                raise st.bad_request(f'strconv.ParseInt: parsing "{grace}": invalid syntax') from e
        if policy := request.param("propagationPolicy"):
            doc["propagationPolicy"] = policy
        if orphan := request.param("orphanDependents"):
            doc["orphanDependents"] = orphan.lower() not in ("false", "0")
    if dry := request.query.get("dryRun") if request.query_string else None:
        doc.setdefault("dryRun", dry)
    return _checked(doc)


def _checked(doc: dict[str, Any]) -> DeleteOptions:
    options = DeleteOptions()
    errors = []
    options.grace = doc.get("gracePeriodSeconds")
    options.policy = doc.get("propagationPolicy")
    options.orphan = doc.get("orphanDependents")
    preconditions = doc.get("preconditions") or {}
    options.uid = preconditions.get("uid")
    options.revision = preconditions.get("resourceVersion")
    dry = doc.get("dryRun") or []
    errors += dry_run_errors(dry)
    options.dry_run = bool(dry)
    options.document = {k: v for k, v in doc.items() if k not in ("kind", "apiVersion", "dryRun")}
    if options.policy is not None and options.orphan is not None:
        errors.append(
            fe.invalid(
                "propagationPolicy",
                options.policy,
                "orphanDependents and deletionPropagation cannot be both set",
            )
        )
    if options.policy is not None and options.policy not in POLICIES:
        errors.append(fe.not_supported("propagationPolicy", options.policy, [*POLICIES, "nil"]))
    if errors:
        raise st.invalid("DeleteOptions", META, "", errors)
    return options


async def delete(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """The object, or a Status where upstream answers one."""
    accept(request.headers.get("Accept") or "")
    options = delete_options(request)
    info = request.info
    namespace = info.namespace if endpoint.namespaced else ""
    stored = api.store.state.get(endpoint.storage, namespace, info.name)
    if stored is None:
        raise endpoint.not_found(info.name)
    data, gone = await delete_one(api, request, endpoint, stored, options)
    if gone and not endpoint.kind.returns_deleted:
        doc = st.success(endpoint.plural, endpoint.group, info.name, stored.uid)
        return document_response(api, request, endpoint, doc)
    return object_response(api, request, endpoint, data)


async def delete_one(
    api: Api,
    request: Request,
    endpoint: Endpoint,
    stored: Stored,
    options: DeleteOptions,
    *,
    admit: bool = True,
) -> tuple[bytes, bool]:
    """Delete or mark one object; (its last or marked form, whether it is gone).

    ``admit`` False does without admission.  Raises 404 or, after a few tries, 409 if
    others write while it is asked.
    """
    for _ in range(RETRIES + 1):
        _check_preconditions(endpoint, stored, options)
        if not admit:
            break
        seen = (await endpoint.shown(api, [stored]))[0] if endpoint.converts else stored
        obj = endpoint.load(seen.data)
        attributes = _attributes(api, request, endpoint, stored, obj, options)
        await api.admission.admit(attributes)
        await api.admission.validate(attributes)
        current = api.store.state.get(endpoint.storage, stored.namespace, stored.name)
        if current is stored:
            break
        # Somebody wrote while a webhook was asked.
        if current is None:
            raise endpoint.not_found(stored.name)
        stored = current
    else:
        raise st.conflict(endpoint.plural, endpoint.group, stored.name, MODIFIED)
    if not endpoint.converts:
        return await _delete(api, request, endpoint, stored, options)
    # A deletion changes metadata alone: no other version is asked for to store it.
    data, gone = await _delete(api, request, endpoint.as_stored(), stored, options)
    return await answered(api, endpoint, data), gone


def _attributes(
    api: Api,
    request: Request,
    endpoint: Endpoint,
    stored: Stored,
    obj: Obj,
    options: DeleteOptions,
) -> Attributes:
    return Attributes(
        api,
        request,
        endpoint,
        "DELETE",
        namespace=stored.name if endpoint.storage == "namespaces" else stored.namespace,
        name=stored.name,
        obj=None,
        old=obj,
        dry_run=options.dry_run,
        options=options.document,
    )


async def _delete(
    api: Api,
    request: Request,
    endpoint: Endpoint,
    stored: Stored,
    options: DeleteOptions,
) -> tuple[bytes, bool]:
    """What follows from the decision, which was made on ``stored`` as it is in the store."""
    obj = endpoint.load(stored.data)
    meta = obj["metadata"]
    if (
        endpoint.kind.default_policy == "Orphan"
        and options.policy is None
        and options.orphan is None
    ):
        request.warn(ORPHANS)
    grace = _grace(endpoint, obj, options)
    pending_before = "deletionTimestamp" in meta
    finalizers = _finalizers(endpoint, obj, options)
    changed = finalizers != meta.get("finalizers", [])
    if changed:
        if finalizers:
            meta["finalizers"] = finalizers
        else:
            meta.pop("finalizers", None)
    graceful = endpoint.kind.graceful and grace > 0
    if pending_before:
        shorter = endpoint.kind.graceful and grace < meta.get("deletionGracePeriodSeconds", 0)
        if shorter:
            _mark(api, endpoint, obj, grace, earlier=True)
            changed = True
        waits = (
            bool(finalizers)
            or (endpoint.kind.graceful and meta.get("deletionGracePeriodSeconds", 0) > 0)
            or not endpoint.kind.may_end(obj)
        )
        if waits:
            if not changed or options.dry_run:
                return (endpoint.encode(obj) if changed else stored.data), False
            written = store_object(api, endpoint, obj)
            await api.store.durable(written.revision)
            return written.data, False
    elif graceful or finalizers or endpoint.kind.marks_deletion(obj):
        _mark(api, endpoint, obj, grace if endpoint.kind.graceful else 0)
        if options.dry_run:
            return endpoint.encode(obj), False
        written = store_object(api, endpoint, obj)
        await api.store.durable(written.revision)
        return written.data, False
    elif endpoint.kind.graceful:
        # Graceful deletion is always announced, even when nothing is waited for.
        _mark(api, endpoint, obj, 0)
        changed = True
    if endpoint.kind.graceful and changed and not options.dry_run:
        store_object(api, endpoint, obj)
    if options.dry_run:
        return endpoint.encode(obj) if endpoint.kind.graceful else stored.data, True
    written = remove(api, endpoint, obj)
    await api.store.durable(written.revision)
    return written.data, True


def _check_preconditions(endpoint: Endpoint, stored: Stored, options: DeleteOptions) -> None:
    kind = endpoint.kind_name
    if options.uid is not None and options.uid != stored.uid:
        raise _precondition(
            endpoint,
            kind,
            stored,
            f"the UID in the precondition ({options.uid}) does not match the UID in record "
            f"({stored.uid}). The object might have been deleted and then recreated",
        )
    if options.revision is not None and options.revision != str(stored.revision):
        raise _precondition(
            endpoint,
            kind,
            stored,
            f"the ResourceVersion in the precondition ({options.revision}) does not match the "
            f"ResourceVersion in record ({stored.revision}). The object might have been modified",
        )


def _precondition(endpoint: Endpoint, kind: str, stored: Stored, why: str) -> StatusError:
    # Upstream tells the kind here where it tells the resource elsewhere.
    return st.conflict(kind, endpoint.group, stored.name, why)


def _grace(endpoint: Endpoint, obj: Obj, options: DeleteOptions) -> int:
    """Seconds until the object may go: 0 is now."""
    if not endpoint.kind.graceful:
        return 0
    grace = options.grace
    if grace is not None and grace < 0:
        grace = 1
    return endpoint.kind.grace_period(obj, grace)


def _finalizers(endpoint: Endpoint, obj: Obj, options: DeleteOptions) -> list[str]:
    """The object's finalizers with those the propagation policy adds or takes away."""
    finalizers = list(obj["metadata"].get("finalizers", []))
    policy = options.policy
    if options.orphan is not None:
        orphan = options.orphan
        foreground = False
    elif policy is not None:
        orphan = policy == "Orphan"
        foreground = policy == "Foreground"
    else:
        if ORPHAN in finalizers or FOREGROUND in finalizers:
            return finalizers
        orphan = endpoint.kind.default_policy == "Orphan"
        foreground = False
    finalizers = [
        f for f in finalizers if (f != ORPHAN or orphan) and (f != FOREGROUND or foreground)
    ]
    if orphan and ORPHAN not in finalizers:
        finalizers.append(ORPHAN)
    if foreground and FOREGROUND not in finalizers:
        finalizers.append(FOREGROUND)
    return finalizers


def _mark(api: Api, endpoint: Endpoint, obj: Obj, grace: int, *, earlier: bool = False) -> None:
    """Set deletionTimestamp ``grace`` seconds ahead and move the generation."""
    meta = obj["metadata"]
    if earlier:
        old = parse_time(meta["deletionTimestamp"])
        before = timedelta(seconds=meta.get("deletionGracePeriodSeconds", 0))
        meta["deletionTimestamp"] = format_time(old - before + timedelta(seconds=grace))
    else:
        meta["deletionTimestamp"] = format_time(api.now() + timedelta(seconds=grace))
        if meta.get("generation", 0) > 0:
            meta["generation"] += 1
    if endpoint.kind.tells_grace:
        meta["deletionGracePeriodSeconds"] = grace
    endpoint.kind.marked_for_deletion(obj, api.timestamp())
