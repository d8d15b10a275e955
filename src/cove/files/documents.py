"""Documents: what the files of an object hold.

``managedFields`` is left out and nothing else, as ``kubectl get`` does.  YAML is quoted so
that readers of YAML 1.1 and 1.2 alike take strings for strings.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import orjson
import yaml

from cove.files.paths import JSON, STATUS, YAML

if TYPE_CHECKING:
    from cove.files.discovery import Type

__all__ = [
    "HIDDEN",
    "LAST_APPLIED",
    "inode",
    "mtime_of",
    "nanoseconds",
    "redacted",
    "render",
    "slim",
    "to_yaml",
    "whole",
]

Doc = dict[str, Any]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# What stands for a secret's value.  It is no base64, on purpose: a server refuses a manifest
# of ours before it overwrites a Secret.
HIDDEN = "(redacted)"
_Base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
# What one reader or another takes for a truth value, nothing, a number, a date or a merge: the
# library quotes what it would take for one itself, by YAML 1.1 less its one-letter truths.
_AMBIGUOUS = re.compile(
    r"(?i:y|n|yes|no|on|off|true|false|null|~|=|<<|[-+]?\.inf|\.nan"
    r"|[-+]?0x[0-9a-f_]+|[-+]?0o?[0-7_]+|[-+]?0b[01_]+"
    r"|[-+]?([0-9][0-9_,]*\.?[0-9_]*|\.[0-9][0-9_]*)(e[-+]?[0-9]+)?"
    r"|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([t ].*)?)"
)


class _Dumper(_Base):  # type: ignore[misc]  # either of two
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: Any, text: str) -> Any:
    style = None
    if "\n" in text:
        style = "|"
    elif _AMBIGUOUS.fullmatch(text):
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(value: Any) -> bytes:
    """A document as kubectl prints it: keys sorted, long lines whole, texts of lines as blocks."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=True, width=2**31 - 1, allow_unicode=True
    )
    # A lone scalar is followed by the end of the document.
    return text.removesuffix("...\n").encode(errors="surrogatepass")


def to_json(value: Any) -> bytes:
    """A document as JSON, keys sorted."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(value, option=option)


def whole(doc: Doc, type_: Type) -> Doc:
    """An object as a GET answers it: those of lists do not say what they are."""
    gvr = type_.gvr
    return {"apiVersion": gvr.api_version, "kind": type_.kind, **doc}


def slim(doc: Doc) -> Doc:
    """What is kept of an object: of ``managedFields`` only when the last write was."""
    metadata = doc["metadata"]
    times = [f["time"] for f in metadata.pop("managedFields", ()) if f.get("time")]
    if times:
        metadata["managedFields"] = [{"time": max(times)}]
    return doc


def _shown(doc: Doc) -> Doc:
    """Without ``managedFields``, as it is printed."""
    metadata = doc.get("metadata")
    if isinstance(metadata, dict) and "managedFields" in metadata:
        metadata = {k: v for k, v in metadata.items() if k != "managedFields"}
        return {**doc, "metadata": metadata}
    return doc


def redacted(doc: Doc) -> Doc:
    """A Secret without its values, also in what was last applied."""
    out = _without_values(doc)
    annotations = (doc.get("metadata") or {}).get("annotations") or {}
    if LAST_APPLIED in annotations:
        try:
            applied = orjson.loads(annotations[LAST_APPLIED])
            text = orjson.dumps(_without_values(applied)).decode() + "\n"
        except (orjson.JSONDecodeError, TypeError, AttributeError):
            text = HIDDEN
        annotations = {**annotations, LAST_APPLIED: text}
        out["metadata"] = {**doc["metadata"], "annotations": annotations}
    return out


def _without_values(doc: Doc) -> Doc:
    out = dict(doc)
    for field in ("data", "stringData"):
        if isinstance(out.get(field), dict):
            out[field] = dict.fromkeys(out[field], HIDDEN)
    return out


def render(doc: Doc, file: str) -> bytes:
    """The content of ``manifest.yaml``, ``manifest.json`` or ``status.yaml``."""
    if file == YAML:
        return to_yaml(_shown(doc))
    if file == JSON:
        return to_json(_shown(doc))
    assert file == STATUS, file
    return to_yaml(doc.get("status"))


def nanoseconds(time: str | None) -> int:
    """An RFC 3339 time as nanoseconds since 1970; 0 for none and for what is no time."""
    if not time:
        return 0
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = (moment - _EPOCH).total_seconds()
    return round(seconds * 1_000_000) * 1_000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def mtime_of(doc: Doc) -> int:
    """When an object was last written, in nanoseconds: its newest ``managedFields`` entry.

    Where there is none, when it was created.
    """
    metadata = doc["metadata"]
    times = [nanoseconds(f.get("time")) for f in metadata.get("managedFields") or ()]
    return max([nanoseconds(metadata.get("creationTimestamp")), *times])


def inode(*parts: str) -> int:
    """A number for a file that is the same at every mount; never 0 or 1."""
    digest = blake2b("\0".join(parts).encode(errors="surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 1) | 2
