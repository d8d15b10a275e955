"""PATCH: JSON patch, merge patch, strategic merge patch and server-side apply.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply and
``pkg/endpoints/handlers/patch.go``, whose texts the errors repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson

from cove.kube import field_errors as fe
from cove.kube import status as st
from cove.kube.apply import ApplyError, ConflictError, apply, update_managed_fields
from cove.kube.catalogue import codec
from cove.kube.kinds._kind import Obj
from cove.kube.patch import PatchError, json_patch, merge_patch, strategic_merge_patch
from cove.kube.status import StatusError
from cove.server.body import check_type
from cove.server.negotiate import accept, media_type
from cove.server.options import WriteOptions, write_options
from cove.server.request import Request, Response
from cove.server.verbs._render import object_response
from cove.server.verbs._write import (
    Subject,
    Update,
    check_namespace,
    insert,
    managed_context,
    update_object,
)
from cove.server.verbs.update import check_name

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["patch", "patched"]

JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

Patcher = Callable[[Obj], Obj]


def patch_type(request: Request, *, custom: bool) -> str:
    """The media type of the patch; raises 415 for what cannot be patched with."""
    media = media_type(request.headers.get("Content-Type") or "")
    if media in (JSON, MERGE, APPLY) or (media == STRATEGIC and not custom):
        return media
    if media == STRATEGIC:
        raise st.unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: "
            f"{JSON}, {MERGE}, {APPLY}"
        )
    raise StatusError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})


async def patch(
    api: Api, request: Request, endpoint: Endpoint, subresource: str = ""
) -> Response:
    """The object after the patch; 201 where an apply created it."""
    media = patch_type(request, custom=endpoint.custom)
    accept(request.headers.get("Accept") or "")
    options = write_options(request, "PatchOptions", patch=True, apply=media == APPLY)
    subject = Subject(api, request, endpoint, options, subresource)
    kind, name = endpoint.kind, request.info.name
    status = subresource == "status"
    if media == APPLY:
        update = _apply_update(subject, name)
    else:
        update = _patch_update(subject, name, media)
    update.prepare = kind.prepare_status if status else kind.prepare_update
    update.validate = kind.validate_status if status else kind.validate_update
    if subresource:
        update.create = None
    data, created = await update_object(subject, name, update)
    return object_response(api, request, endpoint, data, 201 if created else 200)


def _patch_update(subject: Subject, name: str, media: str) -> Update:
    endpoint, request, options = subject.endpoint, subject.request, subject.options
    patcher = compile_patch(request, endpoint, options, media)

    async def make(live: Obj) -> Obj:
        obj = patcher(live)
        check_name(obj, name)
        check_namespace(subject, obj["metadata"])
        update_managed_fields(live, obj, managed_context(subject))
        return obj

    kind = endpoint.kind
    return Update(make, kind.prepare_update, kind.validate_update)


def compile_patch(
    request: Request, endpoint: Endpoint, options: WriteOptions, media: str
) -> Patcher:
    """The patch of the body as a function from the live object to the patched one."""
    body = request.body
    if media == JSON:
        return _json_patcher(request, endpoint, options, body)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        raise st.bad_request(codec.json_error(body)) from e
    if not isinstance(document, dict):
        if document is None and media == STRATEGIC:
            document = {}
        else:
            raise st.bad_request(
                f"json: cannot unmarshal {codec.json_type(document)} into Go value of type "
                "map[string]interface {}"
            )
    duplicates = (
        [] if options.field_validation == "Ignore" else codec.find_duplicate_fields(body)
    )
    if media == MERGE:

        def merge(live: Obj) -> Obj:
            return patched(
                request, endpoint, options, merge_patch(live, document), duplicates=duplicates
            )

        return merge

    def strategic(live: Obj) -> Obj:
        try:
            result = strategic_merge_patch(live, document, endpoint.schema)
        except PatchError as e:
            raise patch_status(e) from e
        return patched(
            request, endpoint, options, result, duplicates=duplicates, shown=document
        )

    return strategic


def _json_patcher(
    request: Request, endpoint: Endpoint, options: WriteOptions, body: bytes
) -> Patcher:
    try:
        operations = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        raise st.bad_request(f"error decoding patch: {codec.json_error(body)}") from e
    if not isinstance(operations, list):
        raise st.bad_request(
            f"error decoding patch: json: cannot unmarshal {codec.json_type(operations)} into Go "
            "value of type []handlers.jsonPatchOp"
        )
    problems = []
    if options.field_validation != "Ignore":
        for index, operation in enumerate(operations):
            if isinstance(operation, dict):
                problems += [
                    f'json patch unknown field "[{index}].{key}"'
                    for key in operation
                    if key not in ("op", "path", "from", "value")
                ]

    def run(live: Obj) -> Obj:
        try:
            result = json_patch(live, operations)
        except PatchError as e:
            raise patch_status(e) from e
        return patched(request, endpoint, options, result, duplicates=problems)

    return run


def patch_status(error: PatchError) -> StatusError:
    """The Status that upstream answers for a patch that cannot be applied."""
    if error.code == 422:
        return StatusError(422, "Invalid", str(error), {})
    if error.code == 400:
        return st.bad_request(str(error))
    return StatusError(error.code, "", str(error))


def patched(
    request: Request,
    endpoint: Endpoint,
    options: WriteOptions,
    result: Any,
    *,
    duplicates: list[str],
    shown: Obj | None = None,
) -> Obj:
    """A patched document in normal form; faults are told as faults of ``patch``.

    ``shown`` is what the error quotes: a strategic patch itself, else the whole result.
    """
    validation = options.field_validation

    def refuse(why: str) -> StatusError:
        value = (
            codec.go_value(shown)
            if shown is not None
            else orjson.dumps(result, option=orjson.OPT_SORT_KEYS).decode()
        )
        return st.invalid("", "", "", [fe.invalid("patch", value, why)])

    if not isinstance(result, dict):
        raise refuse("the patched document is not an object")
    checked = check_type(result, endpoint.kind_name, endpoint.api_version)
    try:
        obj, problems = endpoint.decode(checked, validation)
    except StatusError as e:
        raise refuse(codec.bare_error(e.message)) from e
    problems = duplicates + problems
    if problems and validation == "Strict":
        raise refuse(f"strict decoding error: {codec.join_problems(problems)}")
    if validation == "Warn":
        for problem in problems:
            request.warn(problem)
    endpoint.kind.default(obj)
    return obj


# -- server-side apply


def _apply_update(subject: Subject, name: str) -> Update:
    api, endpoint, request = subject.api, subject.endpoint, subject.request
    options = subject.options
    config = _configuration(subject, name)

    def applied(live: Obj | None) -> Obj:
        # An applied configuration never carries these of its own.
        meta = config["metadata"]
        try:
            obj = apply(live, config, managed_context(subject), force=bool(options.force))
        except ConflictError as e:
            raise _conflict(e) from e
        except ApplyError as e:
            raise StatusError(e.code, e.reason, str(e)) from e
        if live is not None and obj is live:
            return dict(live)
        decoded, _ = endpoint.decode(obj, "Ignore")
        endpoint.kind.default(decoded)
        if live is None and meta.get("uid"):
            decoded["metadata"]["uid"] = meta["uid"]
        return decoded

    async def make(live: Obj) -> Obj:
        obj = applied(live)
        check_name(obj, name)
        check_namespace(subject, obj["metadata"])
        return obj

    async def create() -> bytes:
        uid = config["metadata"].get("uid")
        if uid:
            raise st.conflict(
                endpoint.plural,
                endpoint.group,
                name,
                f"uid mismatch: the provided object specified uid {uid}, and no existing object "
                "was found",
            )
        api.identity.require(api, request.user, request, verb="create")
        obj = applied(None)
        check_name(obj, name)
        check_namespace(subject, obj["metadata"])
        attributes = subject.attributes("CREATE", obj, None, name)
        await api.admission.admit(attributes)
        return await insert(subject, obj, attributes)

    kind = endpoint.kind
    return Update(make, kind.prepare_update, kind.validate_update, create=create)


def _configuration(subject: Subject, name: str) -> Obj:
    """The applied configuration, as it was sent but for its type and name; raises 400."""
    endpoint, options = subject.endpoint, subject.options
    doc, problems = codec.load_yaml(subject.request.body, endpoint.kind_name)
    if not isinstance(doc, dict):
        raise st.bad_request(
            f"error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot "
            f"unmarshal {codec.json_type(doc)} into Go value of type map[string]interface {{}}"
        )
    kind, version = doc.get("kind"), doc.get("apiVersion")
    if not kind or not version:
        missing = "kind" if not kind else "apiVersion"
        raise st.bad_request(
            f"invalid object type: Object '{missing}' is missing in '{orjson.dumps(doc).decode()}'"
        )
    if (kind, version) != (endpoint.kind_name, endpoint.api_version):
        group, _, only = str(version).rpartition("/")
        raise st.bad_request(
            f"invalid object type: {group}/{only}, Kind={kind}"
        )
    if problems and options.field_validation == "Strict":
        raise st.bad_request(
            f"strict decoding error: {codec.join_problems(problems)}"
        )
    for problem in problems if options.field_validation == "Warn" else ():
        subject.request.warn(problem)
    meta = doc.get("metadata")
    if meta is None:
        meta = doc["metadata"] = {}
    if isinstance(meta, dict):
        if meta.get("managedFields"):
            raise st.bad_request("metadata.managedFields must be nil")
        if meta.get("name") is None:
            meta["name"] = name
    return doc


def _conflict(error: ConflictError) -> StatusError:
    """409 with a cause for every field somebody else owns."""
    return StatusError(
        409,
        "Conflict",
        error.message,
        {"causes": error.causes},
    )
