"""Redaction: what a timeline keeps of secrets are their keys and lengths.

What counts as secret

- ``data`` and ``stringData`` of a Secret, wherever the Secret is: alone, in a list, a table, a
  patch, an admission review, another object; and annotations that repeat it as JSON
- values of fields that are called like credentials (``token``, ``password``,
  ``client-key-data`` …), in documents and in text that looks like a configuration; so the
  answers to TokenRequests
- environment variables that are called like that
- private keys in PEM, also encoded once more; JSON web tokens; ``Bearer …``; kubeconfigs in a text

A value that stands for itself is replaced by ``<redacted: 12 bytes>``, the length being that of
the decoded value where it is base64 in a Secret.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["HARMLESS", "harmless", "redact", "redact_query", "redact_text"]

# Codes of refusals that tell of names alone; others may repeat what was sent.
HARMLESS = frozenset((401, 403, 404, 405, 406, 409, 410, 415, 429, 503))

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_CREDENTIALS = (
    "access-?token|api-?key|authorization|bearer-?token|client-?key-?data|client-?secret|id-?token"
    "|passphrase|passwd|password|private-?key|refresh-?token|secret-?access-?key|secret-?key|token"
)
_NAMED = re.compile(f"(?:{_CREDENTIALS})".replace("-?", "[-_]?"), re.IGNORECASE)
_VARIABLE = re.compile(
    r"passw|passphrase|secret|token|credential|api_?key|private_?key", re.IGNORECASE
)
# `token: …` in YAML or JSON, block scalars included.
_IN_TEXT = re.compile(
    rf"""(?imx)
    (["']? \b (?:{_CREDENTIALS.replace("-?", "[-_]?")}) ["']? \s* : [ \t]*)
    ( [|>][-+0-9]* [ \t]* \n (?: [ \t]+ .* \n? )+ | "(?:[^"\\\n]|\\.)*" | '[^'\n]*' | [^\s,}}\]\#]+ )
    """
)
_PEM = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
# The same in base64, which kubeconfigs have it in; the header is short enough to be told by.
_PEM_ENCODED = re.compile(
    r"LS0tLS1CRUdJTi(?:BQUklWQVRFIEtFWS|BSU0EgUFJJVkFURSBLRV|BFQyBQUklWQVRFIEtFWS"
    r"|BFTkNSWVBURUQgUFJJVkFURSBLRV|BPUEVOU1NIIFBSSVZBVEUgS0VZ)[A-Za-z0-9+/=]*"
)
_JWT = re.compile(r"\beyJ[\w-]{6,}\.eyJ[\w-]{6,}\.[\w-]*")
_SCHEME = re.compile(r"\b((?:Bearer|Basic)\s+)([A-Za-z0-9._~+/=-]{8,})", re.IGNORECASE)
# Shorter strings are in every text, and no secrets.
_SHORTEST = 3


def _gone(length: int) -> str:
    return f"<redacted: {length} bytes>"


def _covered(text: str) -> str:
    return _gone(len(text.encode(errors="surrogatepass")))


def redact(doc: Any, *, secret: bool = False) -> Any:
    """A document without its secrets; ``doc`` itself is not changed.

    ``secret`` says that the document is, or changes, or lists Secrets, although it may not
    say so: a patch, the items of a list.
    """
    if isinstance(doc, Mapping):
        return _object(doc, secret)
    if isinstance(doc, list):
        return [redact(each, secret=secret) for each in doc]
    if isinstance(doc, str):
        return redact_text(doc)
    return doc


def _object(doc: Mapping[str, Any], secret: bool) -> dict[str, Any]:
    kind = doc.get("kind")
    secret = secret or kind in ("Secret", "SecretList")
    if isinstance(doc.get("op"), str) and isinstance(doc.get("path"), str):
        return _operation(doc, secret)
    out: dict[str, Any] = {}
    for key, value in doc.items():
        if secret and key in ("data", "stringData"):
            out[key] = _all(value, encoded=key == "data")
        elif key == "annotations" and isinstance(value, Mapping):
            out[key] = {name: _annotation(name, each, secret) for name, each in value.items()}
        elif isinstance(value, str) and value and _is_credential(str(key), doc):
            out[key] = _covered(value)
        else:
            out[key] = redact(value, secret=secret)
    return out


def _is_credential(key: str, doc: Mapping[str, Any]) -> bool:
    if key == "value":
        name = doc.get("name")
        return isinstance(name, str) and _VARIABLE.search(name) is not None
    return _NAMED.fullmatch(key) is not None


def _operation(doc: Mapping[str, Any], secret: bool) -> dict[str, Any]:
    """A step of a JSON patch: what is secret is told by the path."""
    path = doc["path"]
    steps = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]
    out = {key: value for key, value in doc.items() if key != "value"}
    if "value" not in doc:
        return out
    value, last = doc["value"], steps[-1] if steps else ""
    if secret and steps[:1] in (["data"], ["stringData"]):
        value = _all(value, encoded=steps[0] == "data")
    elif steps[-2:-1] == ["annotations"] and isinstance(value, str):
        value = _annotation(last, value, secret)
    else:
        # Under its own name it is judged as in a document.
        value = _object({last: value}, secret)[last]
    out["value"] = value
    return out


def _annotation(name: str, value: Any, secret: bool) -> Any:
    if not isinstance(value, str):
        return redact(value, secret=secret)
    repeats = value.lstrip().startswith(("{", "[")) or name == _LAST_APPLIED
    if secret and (repeats or value.startswith("H4sI")):
        return _covered(value)
    if repeats:
        try:
            doc = json.loads(value)
        except ValueError:
            return redact_text(value)
        return json.dumps(redact(doc), separators=(",", ":"), ensure_ascii=False)
    return redact_text(value)


def _all(value: Any, *, encoded: bool) -> Any:
    """A value whose every leaf is secret; keys and the shape stay."""
    if isinstance(value, Mapping):
        return {key: _all(each, encoded=encoded) for key, each in value.items()}
    if isinstance(value, list):
        return [_all(each, encoded=encoded) for each in value]
    if value is None or isinstance(value, bool):
        return value
    text = str(value)
    if encoded:
        decoded = _decoded(text)
        if decoded is not None:
            return _gone(len(decoded))
    return _covered(text)


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def redact_text(text: str) -> str:
    """Text without the credentials that can be told from what is around them."""
    if len(text) < _SHORTEST:
        return text
    if "users" in text and ("client-key" in text or "current-context" in text):
        return _covered(text)
    if "PRIVATE KEY" in text:
        text = _PEM.sub(lambda m: _covered(m[0]), text)
    if "LS0tLS1CRUdJTi" in text:
        text = _PEM_ENCODED.sub(lambda m: _covered(m[0]), text)
    if "eyJ" in text:
        text = _JWT.sub(lambda m: _covered(m[0]), text)
    if "earer" in text or "asic" in text or "EARER" in text:
        text = _SCHEME.sub(lambda m: m[1] + _covered(m[2]), text)
    if "\n" in text or text.lstrip().startswith("{"):
        # A configuration: in a sentence "token: …" is none.
        text = _IN_TEXT.sub(_field, text)
    return text


def _field(match: re.Match[str]) -> str:
    value = match[2]
    if value.startswith(('"<redacted:', "<redacted:")):
        return match[0]
    if value.startswith(("|", ">")):
        return f"{match[1]}{_covered(value)}\n"
    if value[0] in "\"'":
        return f"{match[1]}{value[0]}{_covered(value[1:-1])}{value[0]}"
    return match[1] + _covered(value)


def redact_query(query: str) -> str:
    """A query string without tokens in it."""
    if not query:
        return query
    parts = []
    for part in query.split("&"):
        key, equals, _ = part.partition("=")
        parts.append(f"{key}=redacted" if equals and _NAMED.fullmatch(key) else part)
    return "&".join(parts)


def _secrets_in(doc: Any) -> set[str]:
    """The values that a request about Secrets holds, in every way they may be told again."""
    found: set[str] = set()
    for value in _values(doc):
        for text in {value, *_texts(value)}:
            for piece in (text, json.dumps(text)[1:-1], *text.splitlines()):
                if len(piece) >= _SHORTEST:
                    found.add(piece)
    return found


def _texts(value: str) -> Iterator[str]:
    decoded = _decoded(value)
    if decoded is not None:
        yield decoded.decode(errors="replace")
    yield base64.b64encode(value.encode(errors="surrogatepass")).decode()


def _values(doc: Any, inside: bool = False) -> Iterator[str]:
    if isinstance(doc, Mapping):
        step = str(doc.get("path", ""))
        for key, value in doc.items():
            hit = key in ("data", "stringData") or (
                key == "value" and step.startswith(("/data", "/stringData"))
            )
            yield from _values(value, inside or hit)
    elif isinstance(doc, list):
        for each in doc:
            yield from _values(each, inside)
    elif inside and isinstance(doc, (str, int, float)) and not isinstance(doc, bool):
        yield str(doc)


def _scrub(text: str, secrets: Iterable[str]) -> str:
    brace = text.find("{")
    if brace >= 0:
        # It repeats the body, or a part of it, in words of its own.
        text = text[:brace] + _covered(text[brace:])
    for secret in sorted(secrets, key=len, reverse=True):
        if secret in text:
            text = text.replace(secret, _covered(secret))
    return text


def harmless(status: Mapping[str, Any], sent: Any) -> dict[str, Any]:
    """The Status that a request about Secrets was refused with, without what it repeats of them.

    ``sent`` is the request's document.  Not needed for refusals of :data:`HARMLESS` codes.
    """
    known = _secrets_in(sent)
    out = dict(status)
    if isinstance(out.get("message"), str):
        out["message"] = _scrub(out["message"], known)
    details = out.get("details")
    if isinstance(details, Mapping) and isinstance(details.get("causes"), list):
        causes = [
            {k: _scrub(v, known) if isinstance(v, str) else v for k, v in cause.items()}
            for cause in details["causes"]
            if isinstance(cause, Mapping)
        ]
        out["details"] = {**details, "causes": causes}
    return out
