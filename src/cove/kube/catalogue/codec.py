"""From a client's document to the one the server keeps.

``decode`` does what an API server's codec does with a body: it checks types, drops
unknown fields, fills in what Go always writes, leaves out zero values, and writes
quantities, times and bytes in their canonical form.  ``convert`` does the same with the
outcome of a strategic merge patch, which upstream decodes by other means and with other
errors.  Defaulting and validation come afterwards and are not this module's.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from cove.kube.catalogue._compile import MismatchError, compiled, zero_value
from cove.kube.catalogue._explain import JSONWalk, RejectedError
from cove.kube.catalogue._explain import convert as _convert
from cove.kube.catalogue._text import (
    TextError,
    TypeMeta,
    find_duplicate_fields,
    load_json,
    load_yaml,
    may_repeat,
    not_text,
    read_pairs,
    type_meta,
    unrecognized,
    yaml_loader,
)
from cove.kube.schema import Node
from cove.kube.status import StatusError

__all__ = [
    "DecodeError",
    "Decoded",
    "FieldValidation",
    "TextError",
    "TypeMeta",
    "convert",
    "decode",
    "find_duplicate_fields",
    "in_go_order",
    "load_json",
    "load_yaml",
    "not_text",
    "strict_error",
    "type_meta",
    "unrecognized",
    "yaml_loader",
    "zero_value",
]

FieldValidation = Literal["Ignore", "Warn", "Strict"]


class DecodeError(StatusError):
    """400: the document cannot be read as its kind.

    ``cause`` is the decoder's own text ("json: cannot unmarshal …", "strict decoding
    error: …"), for those who tell it in another way: a patch whose outcome does not
    decode is a 422 about ``patch``.
    """

    def __init__(self, kind: str, version: str, target: str, cause: str) -> None:
        super().__init__(
            400,
            "BadRequest",
            f"{kind} in version {_quoted(version)} cannot be handled as a {target}: {cause}",
        )
        self.cause = cause


class Decoded(NamedTuple):
    """The document to keep, and what field validation found: texts for Warning headers."""

    obj: dict[str, Any]
    problems: Sequence[str] = ()


def _quoted(text: str) -> str:
    return f'"{text}"'


def strict_error(problems: Sequence[str]) -> str:
    """The text of a strict decoding that failed."""
    return "strict decoding error: " + ", ".join(problems)


def decode(
    doc: Any,
    node: Node,
    *,
    kind: str,
    api_version: str,
    field_validation: FieldValidation = "Warn",
    raw: bytes | None = None,
    problems: Sequence[str] = (),
) -> Decoded:
    """Decode a parsed JSON document as ``kind`` of ``api_version``.

    The result is a new dict which may share parts with ``doc``; ``doc`` is not to be
    changed afterwards.  ``raw`` is the JSON text that ``doc`` came from: with it, repeated
    keys are found too.  ``problems`` are those that reading the text has found already
    (:func:`load_yaml`); they come first.

    Raises DecodeError if a value does not fit its type, and for any problem under
    "Strict".
    """
    unknown: list[str] = []
    version = api_version.rpartition("/")[2]
    try:
        found = compiled(node)(doc if doc is not None else {}, unknown)
    except MismatchError:
        raise _explain(doc, node, kind, version, raw) from None
    obj: dict[str, Any] = {"kind": kind, "apiVersion": api_version}
    obj.update(found)
    obj["kind"] = kind
    obj["apiVersion"] = api_version
    if field_validation == "Ignore":
        return Decoded(obj)
    if unknown or (raw is not None and may_repeat(raw, doc)):
        walk = JSONWalk()
        walk.run(doc if raw is None else read_pairs(raw), node, f"{version}.{kind}")
        problems = [*problems, *walk.problems]
    if problems and field_validation == "Strict":
        raise DecodeError(kind, version, kind, strict_error(problems))
    return Decoded(obj, problems)


def _explain(doc: Any, node: Node, kind: str, version: str, raw: bytes | None) -> DecodeError:
    try:
        JSONWalk().run(doc if raw is None else read_pairs(raw), node, f"{version}.{kind}")
    except RejectedError as error:
        return DecodeError(kind, version, kind, str(error))
    raise AssertionError(f"{kind} decodes in one way and not in the other")


def convert(
    doc: dict[str, Any],
    node: Node,
    *,
    kind: str,
    api_version: str,
    field_validation: FieldValidation = "Warn",
) -> Decoded:
    """Decode the outcome of a strategic merge patch.

    As :func:`decode`, but whole floats pass for integers, problems are sorted, and the
    errors are those of the unstructured converter; :attr:`DecodeError.cause` is what a
    patch's 422 tells.
    """
    unknown: list[str] = []
    version = api_version.rpartition("/")[2]
    try:
        found = compiled(node)(doc, unknown)
    except MismatchError:
        found = None
    problems: list[str] = []
    if found is None or unknown:
        try:
            doc = _convert(doc, node, f"{version}.{kind}", "", problems)
            found = compiled(node)(doc, [])
        except (RejectedError, MismatchError) as error:
            raise DecodeError(kind, version, kind, str(error)) from None
        problems.sort()
    obj: dict[str, Any] = {"kind": kind, "apiVersion": api_version}
    obj.update(found)
    obj["kind"] = kind
    obj["apiVersion"] = api_version
    if field_validation == "Ignore":
        return Decoded(obj)
    if problems and field_validation == "Strict":
        raise DecodeError(kind, version, kind, strict_error(problems))
    return Decoded(obj, problems)


def in_go_order(value: Any, node: Node) -> Any:
    """A copy with the fields of structs in the order Go writes them and map keys sorted.

    Only texts that quote whole documents need it (the 422 of a strict patch).
    """
    if isinstance(value, dict):
        if node.type == "struct":
            known = [(n, f.node) for n, f in node.fields.items() if n in value]
            return {n: in_go_order(value[n], inner) for n, inner in known}
        if node.type == "map" and node.items is not None:
            return {k: in_go_order(value[k], node.items) for k in sorted(value)}
    if isinstance(value, list) and node.type == "list" and node.items is not None:
        return [in_go_order(item, node.items) for item in value]
    return value
