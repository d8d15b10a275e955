"""PATCH: JSON patch, merge patch, strategic merge patch and server-side apply.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply and
``pkg/endpoints/handlers/patch.go``, whose texts the errors repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from cove.kube import field_errors as fe
from cove.kube import status as st
from cove.kube.apply import apply, update_managed_fields
from cove.kube.catalogue import codec
from cove.kube.catalogue._text import TextError, may_repeat
from cove.kube.kinds._kind import Obj
from cove.kube.patch import go_format, json_patch, merge_patch, strategic_merge_patch
from cove.kube.status import StatusError
from cove.server.negotiate import accept, media_type
from cove.server.options import WriteOptions, write_options
from cove.server.request import Request, Response
from cove.server.verbs._render import object_response
from cove.server.verbs._write import (
    Subject,
    Update,
    admit_new,
    check_namespace,
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
STRICT = "strict decoding error: "

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


async def patch(api: Api, request: Request, endpoint: Endpoint, subresource: str = "") -> Response:
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
    if status:
        update.validate = kind.validate_status
    elif media == APPLY:
        update.validate = kind.validate_update
    else:
        update.validate = kind.validate_patch
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
    body, validation = request.body, options.field_validation
    try:
        document = codec.load_json(body)
    except TextError as e:
        raise st.bad_request(f"error decoding patch: {e}" if media == JSON else str(e)) from e
    if media == JSON:
        problems = [] if validation == "Ignore" else unknown_operation_fields(document)

        def by_operations(live: Obj) -> Obj:
            return patched(
                request, endpoint, options, json_patch(live, document), problems=problems
            )

        return by_operations
    if not isinstance(document, dict):
        if document is not None or media == MERGE:
            raise st.bad_request(
                f"json: cannot unmarshal {go_type(document)} into Go value of type "
                "map[string]interface {}"
            )
        document = {}
    problems = []
    if validation != "Ignore" and may_repeat(body, document):
        problems = codec.find_duplicate_fields(body)
    if media == MERGE:

        def by_merge(live: Obj) -> Obj:
            return patched(
                request, endpoint, options, merge_patch(live, document), problems=problems
            )

        return by_merge

    def by_strategy(live: Obj) -> Obj:
        result = strategic_merge_patch(live, document, endpoint.schema)
        return patched(request, endpoint, options, result, problems=problems, shown=document)

    return by_strategy


def unknown_operation_fields(operations: Any) -> list[str]:
    """Fields of JSON patch operations that RFC 6902 does not know, as warnings tell them."""
    if not isinstance(operations, list):
        return []
    return [
        f'json patch unknown field "[{index}].{key}"'
        for index, operation in enumerate(operations)
        if isinstance(operation, dict)
        for key in operation
        if key not in ("op", "path", "from", "value")
    ]


def go_type(value: Any) -> str:
    """What Go's decoder calls a JSON value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "null" if value is None else "object"


def patched(
    request: Request,
    endpoint: Endpoint,
    options: WriteOptions,
    result: Obj,
    *,
    problems: Sequence[str],
    shown: Obj | None = None,
) -> Obj:
    """A patched document in normal form; faults are told as faults of ``patch``.

    ``shown`` is what the error quotes: a strategic patch itself, else the whole result.
    """
    validation = options.field_validation

    def refuse(why: str) -> StatusError:
        value = go_format(shown) if shown is not None else _quoted(result, endpoint)
        return st.invalid("", "", "", [fe.invalid("patch", value, why)])

    try:
        if shown is not None:
            obj, found = endpoint.decode_patched(result, validation)
        else:
            # Upstream writes the patched document's top level sorted before it is read again.
            obj, found = endpoint.decode({k: result[k] for k in sorted(result)}, validation)
    except codec.DecodeError as e:
        cause = e.cause
        if problems and validation == "Strict" and cause.startswith(STRICT):
            cause = STRICT + ", ".join([*problems, cause.removeprefix(STRICT)])
        raise refuse(cause) from e
    if problems and validation == "Strict":
        raise refuse(STRICT + ", ".join(problems))
    if validation == "Warn":
        for problem in (*problems, *found):
            request.warn(problem)
    endpoint.kind.default(obj)
    return obj


def _quoted(result: Obj, endpoint: Endpoint) -> str:
    """The document as Go prints it: known fields in their order, the top level sorted."""
    if endpoint.custom:
        # Of no Go type: maps, which Go writes sorted.
        return orjson.dumps(result, option=orjson.OPT_SORT_KEYS).decode()
    ordered = codec.in_go_order(result, endpoint.schema)
    return orjson.dumps({k: ordered.get(k, result[k]) for k in sorted(result)}).decode()


# -- server-side apply


def _apply_update(subject: Subject, name: str) -> Update:
    api, endpoint, request = subject.api, subject.endpoint, subject.request
    options = subject.options
    config = configuration(request, endpoint, options, name)

    def applied(live: Obj | None) -> Obj:
        obj = apply(live, config, managed_context(subject), force=bool(options.force))
        decoded, problems = endpoint.decode(obj, options.field_validation)
        for problem in problems:
            request.warn(problem)
        endpoint.kind.default(decoded)
        check_name(decoded, name)
        check_namespace(subject, decoded["metadata"])
        return decoded

    async def make(live: Obj) -> Obj:
        return applied(live)

    async def create() -> bytes:
        metadata = config["metadata"]
        uid = metadata.get("uid") if isinstance(metadata, dict) else None
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
        return await admit_new(subject, obj, name)

    kind = endpoint.kind
    return Update(make, kind.prepare_update, kind.validate_update, create=create)


def _read_configuration(body: bytes) -> tuple[Any, Sequence[str]]:
    """YAML, mostly written as JSON: then the faster reader will do, keys told once."""
    if body[:1] == b"{":
        try:
            doc = orjson.loads(body)
        except orjson.JSONDecodeError:
            return codec.load_yaml(body)
        if not may_repeat(body, doc):
            return doc, ()
    return codec.load_yaml(body)


def configuration(request: Request, endpoint: Endpoint, options: WriteOptions, name: str) -> Obj:
    """The applied configuration, as it was sent but for its name; raises 400."""
    try:
        doc, problems = _read_configuration(request.body)
    except TextError as e:
        raise st.bad_request(f"error decoding YAML: {e}") from e
    if not isinstance(doc, dict):
        raise st.bad_request(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot "
            f"unmarshal {go_type(doc)} into Go value of type map[string]interface {{}}"
        )
    kind, version = doc.get("kind"), doc.get("apiVersion")
    if not kind or not version:
        missing = "kind" if not kind else "apiVersion"
        raise st.bad_request(
            f"invalid object type: Object '{missing}' is missing in "
            f"'{orjson.dumps(doc, option=orjson.OPT_SORT_KEYS).decode()}'"
        )
    if kind != endpoint.kind_name:
        group, _, only = str(version).rpartition("/")
        raise st.bad_request(f"invalid object type: {group}/{only}, Kind={kind}")
    if problems:
        if options.field_validation == "Strict":
            raise st.bad_request(f"error strict decoding YAML: {problems[0]}")
        if options.field_validation == "Warn":
            for line in problems[0].split("\n")[1:]:
                request.warn(line.strip())
    meta = doc.get("metadata")
    if meta is None:
        meta = doc["metadata"] = {}
    if isinstance(meta, dict) and not meta.get("name"):
        meta["name"] = name
    return doc
