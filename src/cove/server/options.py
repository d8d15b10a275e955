"""Query options of the verbs: parsed once, refused as upstream refuses them.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-parameters/common-parameters/
and apimachinery's ``meta/v1/validation``.
"""

from __future__ import annotations

from typing import Any

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError
from cove.kube.status import StatusError, bad_request, invalid
from cove.server.request import Request

__all__ = ["ListOptions", "WriteOptions", "flag", "list_options", "number", "write_options"]

META = "meta.k8s.io"
_MANAGER_LIMIT = 128


class WriteOptions:
    """CreateOptions, UpdateOptions and PatchOptions in one."""

    __slots__ = ("dry_run", "field_validation", "force", "manager")

    def __init__(self, dry_run: bool, manager: str, validation: str, force: bool | None) -> None:
        self.dry_run = dry_run
        self.manager = manager
        # "Ignore", "Warn" or "Strict".
        self.field_validation = validation
        self.force = force


_DEFAULT = ("", "Warn")
_managers: dict[str, str] = {}


def manager_of(request: Request) -> str:
    """The field manager of a request that names none: its User-Agent up to the first slash."""
    agent = request.headers.get("User-Agent") or ""
    found = _managers.get(agent)
    if found is None:
        name = agent.split("/", 1)[0]
        name = "".join(c for c in name if c.isprintable())[:_MANAGER_LIMIT]
        found = name or "unknown"
        if len(_managers) > 512:
            _managers.clear()
        _managers[agent] = found
    return found


def go_bool(values: list[str] | None) -> bool | None:
    """A query's boolean as upstream converts it: present and not "false" or "0" is true."""
    if values is None:
        return None
    return bool(values) and values[0].lower() not in ("false", "0")


def write_options(
    request: Request, kind: str, *, patch: bool = False, apply: bool = False
) -> WriteOptions:
    """The options of a create, update or patch; ``kind`` is how errors call them ("CreateOptions")."""
    if not request.query_string:
        if apply:
            raise invalid(
                "PatchOptions",
                META,
                "",
                [fe.required("fieldManager", "is required for apply patch")],
            )
        return WriteOptions(False, manager_of(request), "Warn", None)
    query = request.query
    errors: list[FieldError] = []
    force = go_bool(query.get("force"))
    manager = request.param("fieldManager")
    if patch:
        if apply:
            if not manager:
                errors.append(fe.required("fieldManager", "is required for apply patch"))
        elif force is not None:
            errors.append(fe.forbidden("force", "may not be specified for non-apply patch"))
    errors += _manager_errors(manager)
    errors += _dry_run_errors(query.get("dryRun"))
    validation = request.param("fieldValidation")
    if validation not in ("", "Ignore", "Warn", "Strict"):
        errors.append(
            fe.not_supported("fieldValidation", validation, ["", "Ignore", "Strict", "Warn"])
        )
    if errors:
        raise invalid(kind, META, "", errors)
    return WriteOptions(
        bool(query.get("dryRun")), manager or manager_of(request), validation or "Warn", force
    )


def _manager_errors(manager: str) -> list[FieldError]:
    errors = []
    if len(manager) > _MANAGER_LIMIT:
        errors.append(fe.too_long("fieldManager", _MANAGER_LIMIT))
    if manager.isprintable():
        return errors
    for index, char in enumerate(manager):
        if not char.isprintable():
            code = ord(char)
            errors.append(
                fe.invalid(
                    "fieldManager", manager, f"invalid character U+{code:04X} (at position {index})"
                )
            )
            break
    return errors


def _dry_run_errors(values: list[str] | None) -> list[FieldError]:
    if not values or set(values) == {"All"}:
        return []
    return [fe.not_supported("dryRun", v, ["All"]) for v in values if v != "All"]


def dry_run_errors(values: list[str]) -> list[FieldError]:
    """What is wrong with a DeleteOptions' dryRun."""
    return _dry_run_errors(values)


class ListOptions:
    """ListOptions as list, watch and deletecollection read them."""

    __slots__ = (
        "bookmarks",
        "continue_",
        "field_selector",
        "initial_events",
        "label_selector",
        "limit",
        "match",
        "resource_version",
        "timeout",
        "watch",
    )

    def __init__(self) -> None:
        self.label_selector = ""
        self.field_selector = ""
        self.limit = 0
        self.continue_ = ""
        self.resource_version = ""
        self.match = ""
        self.watch = False
        self.bookmarks = False
        self.initial_events: bool | None = None
        self.timeout: int | None = None


def flag(request: Request, name: str) -> bool:
    """A boolean parameter, as Go reads it: anything but "false" and "0" is true."""
    if not request.query_string or name not in request.query:
        return False
    return request.param(name).lower() not in ("false", "0")


def number(request: Request, name: str) -> int | None:
    """A number parameter, None if it is absent; raises 400."""
    text = request.param(name)
    if not text:
        return None
    try:
        value = int(text)
    except ValueError as e:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from e
    if not -(2**63) <= value < 2**63:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


def list_options(request: Request, *, watch: bool) -> ListOptions:
    """The options of a list or (``watch``) a watch; raises 400 or 422 as upstream does."""
    options = ListOptions()
    options.watch = watch
    if not request.query_string:
        return options
    query: dict[str, Any] = request.query
    options.label_selector = request.param("labelSelector")
    options.field_selector = request.param("fieldSelector")
    options.limit = number(request, "limit") or 0
    options.continue_ = request.param("continue")
    options.resource_version = request.param("resourceVersion")
    options.match = request.param("resourceVersionMatch")
    options.bookmarks = bool(go_bool(query.get("allowWatchBookmarks")))
    options.initial_events = go_bool(query.get("sendInitialEvents"))
    options.timeout = number(request, "timeoutSeconds")
    errors = _watch_errors(options) if watch else _list_errors(options)
    if errors:
        raise invalid("ListOptions", META, "", errors)
    return options


def _watch_errors(options: ListOptions) -> list[FieldError]:
    errors = []
    field = "resourceVersionMatch"
    if options.initial_events is not None:
        if options.match != "NotOlderThan":
            errors.append(
                fe.forbidden(
                    field, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
                )
            )
        if options.match and options.match != "NotOlderThan":
            errors.append(fe.not_supported(field, options.match, ["NotOlderThan"]))
        if options.continue_:
            errors.append(
                fe.forbidden(field, "resourceVersionMatch is forbidden when continue is provided")
            )
    elif options.match:
        errors.append(
            fe.forbidden(
                field,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            )
        )
    return errors


def _list_errors(options: ListOptions) -> list[FieldError]:
    errors = []
    field = "resourceVersionMatch"
    if options.initial_events is not None:
        errors.append(fe.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    if options.match:
        if options.continue_:
            errors.append(
                fe.forbidden(field, "resourceVersionMatch is forbidden when continue is provided")
            )
        if not options.resource_version:
            errors.append(
                fe.forbidden(
                    field,
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                )
            )
        if options.match not in ("Exact", "NotOlderThan"):
            errors.append(fe.not_supported(field, options.match, ["Exact", "NotOlderThan", ""]))
        if options.match == "Exact" and options.resource_version == "0":
            errors.append(
                fe.forbidden(
                    field,
                    'resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
                )
            )
    return errors


def parse_revision(text: str, *, listed: bool = True) -> int:
    """A resourceVersion parameter as a number, 0 if it is empty.

    Raises 400 for what is no number, or for gets and watches (not ``listed``) the 500 without a
    reason that upstream gives: only lists have a better answer made of the storage's error.
    Source: ParseResourceVersion and ValidateListOptions of k8s.io/apiserver's storage.
    """
    if not text:
        return 0
    digits = text.isascii() and text.isdigit()
    # Python refuses to read numbers of thousands of digits.
    value = int(text.lstrip("0")[:21] or 0) if digits else 0
    if digits and value < 2**64:
        return value
    problem = "value out of range" if digits else "invalid syntax"
    why = fe.invalid("resourceVersion", text, f'strconv.ParseUint: parsing "{text}": {problem}')
    told = f"{why.field}: {why.text}"
    raise bad_request(f"invalid resource version: {told}") if listed else StatusError(500, "", told)
