"""JSON and YAML texts as an API server reads them, with the errors of Go's parsers.

Parsing itself is left to orjson and libyaml; what is here finds repeated keys, reads
kind and apiVersion, and words what is wrong with a text that does not parse.

Source: https://pkg.go.dev/encoding/json, https://github.com/kubernetes-sigs/yaml
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import orjson

from cove.kube.catalogue._explain import NumberText, Pairs
from cove.kube.catalogue._syntax import syntax_error
from cove.kube.field_errors import render

__all__ = [
    "TextError",
    "TypeMeta",
    "find_duplicate_fields",
    "load_json",
    "load_yaml",
    "may_repeat",
    "not_text",
    "read_pairs",
    "type_meta",
    "unrecognized",
    "yaml_loader",
]


class TextError(ValueError):
    """A text that cannot be parsed; worded as Go's parser does."""


class TypeMeta(NamedTuple):
    """What a document says it is; "" where it says nothing."""

    kind: str
    api_version: str


def load_json(raw: bytes) -> Any:
    """The value of a JSON text; raises TextError ("invalid character 'a' looking for …")."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        text = raw.decode("utf-8", "replace")
        error = syntax_error(text)
        if error is not None:
            raise TextError(error) from None
        # Go takes what orjson does not: broken UTF-8 (replaced), lone surrogates, deep nesting.
        return json.loads(text)


def read_pairs(raw: bytes) -> Any:
    """The value of a valid JSON text with repeated keys and number texts kept."""
    return json.loads(
        raw.decode("utf-8", "replace"), object_pairs_hook=Pairs, parse_float=NumberText
    )


def may_repeat(raw: bytes, doc: Any) -> bool:
    """Whether a key may be there twice; False is certain, True is not.

    A dropped key takes a colon with it, so equal counts in the text and in what was
    read of it mean that nothing was dropped.
    """
    return b"\\u" in raw or raw.count(b":") != orjson.dumps(doc).count(b":")


def find_duplicate_fields(raw: bytes) -> list[str]:
    """Repeated keys anywhere in a JSON text, for kinds without a type: ``duplicate field "spec.x"``.

    In document order, each told once.
    """
    found: dict[str, None] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, Pairs):
            seen: set[str] = set()
            for name, item in value:
                place = f"{path}.{name}" if path else name
                if name in seen:
                    found[f"duplicate field {render(place)}"] = None
                seen.add(name)
                walk(item, place)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                walk(item, f"{path}[{index}]")

    walk(read_pairs(raw), "")
    return list(found)


_META_STRUCT = (
    'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; '
    'Kind string "json:\\"kind,omitempty\\"" }'
)


def type_meta(doc: Any) -> TypeMeta:
    """Kind and apiVersion of a document.

    Raises TextError ("couldn't get version/kind; json parse error: …") if the document
    is no object or says them in another way than by strings; null is an empty object.
    """
    if doc is None:
        return TypeMeta("", "")
    if not isinstance(doc, dict):
        raise TextError(
            "couldn't get version/kind; json parse error: json: cannot unmarshal "
            f"{_json_type(doc)} into Go value of type {_META_STRUCT}"
        )
    for name in ("apiVersion", "kind"):
        value = doc.get(name)
        if value is not None and not isinstance(value, str):
            raise TextError(
                "couldn't get version/kind; json parse error: json: cannot unmarshal "
                f"{_json_type(value)} into Go struct field .{name} of type string"
            )
    return TypeMeta(doc.get("kind") or "", doc.get("apiVersion") or "")


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def unrecognized(target: str, error: str, body: bytes) -> str:
    """The message of a 400 for a body that does not even say what it is.

    ``target`` is the kind the request wanted; the body is shown in hexadecimal, 30 bytes
    at most.
    """
    shown = "<empty>" if not body else body[:30].hex() + (" ..." if len(body) > 30 else "")
    return f"the object provided is unrecognized (must be of type {target}): {error} ({shown})"


_BOOLEAN = re.compile(
    r"^(?:y|Y|yes|Yes|YES|on|On|ON|n|N|no|No|NO|off|Off|OFF|true|True|TRUE|false|False|FALSE)$"
)
_YES = frozenset(("y", "yes", "on", "true"))


@cache
def yaml_loader() -> Any:
    """PyYAML's C loader, resolving what sigs.k8s.io/yaml does: no timestamps, no sexagesimals."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        """Keys become strings; repeated keys are noted, the last one counts."""

        repeated: list[str]

    Loader.yaml_implicit_resolvers = {}
    for tag, pattern, first in (
        ("tag:yaml.org,2002:bool", _BOOLEAN, "yYnNtTfFoO"),
        ("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
        (
            "tag:yaml.org,2002:int",
            re.compile(r"^[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$"),
            "-+0123456789",
        ),
        (
            "tag:yaml.org,2002:float",
            re.compile(
                r"^(?:[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
            ),
            "-+0123456789.",
        ),
        ("tag:yaml.org,2002:merge", re.compile(r"^(?:<<)$"), ["<"]),
    ):
        Loader.add_implicit_resolver(tag, pattern, list(first))

    def boolean(loader: Any, node: Any) -> bool:
        return loader.construct_scalar(node).lower() in _YES

    def integer(loader: Any, node: Any) -> int | float:
        text = loader.construct_scalar(node).replace("_", "")
        sign = -1 if text.startswith("-") else 1
        digits = text.lstrip("+-").lower()
        if digits.startswith(("0x", "0b", "0o")):
            return sign * int(digits, 0)
        if len(digits) > 1 and digits.startswith("0"):
            return sign * int(digits, 8)
        return sign * int(digits)

    def number(loader: Any, node: Any) -> float:
        text = loader.construct_scalar(node).replace("_", "").lower()
        value = float(text.replace(".inf", "inf").replace(".nan", "nan"))
        # Through Go's JSON, where a whole number has no fraction.
        return int(value) if value.is_integer() and abs(value) < 1e21 else value

    def mapping(loader: Any, node: Any) -> dict[str, Any]:
        loader.flatten_mapping(node)
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = _key(loader.construct_object(key_node, deep=True))
            if key in out:
                line = key_node.start_mark.line + 1
                loader.repeated.append(f"line {line}: key {render(key)} already set in map")
            out[key] = loader.construct_object(value_node, deep=True)
        return out

    Loader.add_constructor("tag:yaml.org,2002:bool", boolean)
    Loader.add_constructor("tag:yaml.org,2002:int", integer)
    Loader.add_constructor("tag:yaml.org,2002:float", number)
    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    return Loader


def _key(key: Any) -> str:
    """A map key as JSON knows it: a string."""
    if isinstance(key, bool):
        return "true" if key else "false"
    if key is None:
        return "null"
    return str(key)


# libyaml's words and those of Go's port where they differ.
_YAML_WORDS = {
    "mapping values are not allowed here": "mapping values are not allowed in this context",
}


def load_yaml(raw: bytes) -> tuple[Any, Sequence[str]]:
    """The first document of a YAML text, and the strict problems that reading it found.

    Raises TextError ("yaml: line 3: …").  Numbers, booleans (YAML 1.1's yes and no
    included) and null resolve as in sigs.k8s.io/yaml; timestamps stay texts.
    """
    import yaml

    _check_depth(raw)
    loader = yaml_loader()(raw)
    loader.repeated = []
    try:
        doc = loader.get_data() if loader.check_data() else None
    except yaml.MarkedYAMLError as error:
        raise TextError(_yaml_error(error)) from None
    except yaml.YAMLError as error:
        raise TextError(f"yaml: {error}") from None
    except (ValueError, TypeError) as error:
        raise TextError(f"yaml: {error}") from None
    finally:
        loader.dispose()
    if loader.repeated:
        return doc, ["yaml: unmarshal errors:\n  " + "\n  ".join(loader.repeated)]
    return doc, ()


def not_text(value: Any) -> str:
    """What to say of a value that should be a text, and why it may be none: it goes after "is"."""
    return (
        f"{orjson.dumps(value).decode()}, not a text; YAML reads y, n, yes, no, on and off as booleans "
        "and digits as numbers: quote it"
    )


# As Go's parser has it.  Ours recurses in C: some ten thousands deeper the process is gone.
MAX_DEPTH = 10_000


def _check_depth(raw: bytes) -> None:
    """Raises TextError for a YAML text that nests too deep."""
    # Every level takes one of these: without as many of them nobody has to look closer.
    if sum(raw.count(mark) for mark in (b"[", b"{", b"-", b"?", b":")) <= MAX_DEPTH:
        return
    import yaml

    depth = 0
    try:
        for event in yaml.parse(raw, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    raise TextError(f"yaml: exceeded max depth of {MAX_DEPTH}")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except yaml.YAMLError:
        pass  # told by who reads it


def _yaml_error(error: Any) -> str:
    import yaml

    problem = _YAML_WORDS.get(error.problem or "", error.problem or "")
    # Go leaves out the first line, and counts from one only where the scanner fails.
    line = 0
    if error.problem_mark is not None and error.problem_mark.line:
        line = error.problem_mark.line + isinstance(error, yaml.scanner.ScannerError)
    elif error.context_mark is not None:
        line = error.context_mark.line
    return f"yaml: line {line}: {problem}" if line else f"yaml: {problem}"
