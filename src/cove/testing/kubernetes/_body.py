"""What a call is given, as plain documents."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from cove.kube.catalogue.codec import not_text, yaml_loader
from cove.testing.values import unwrap

__all__ = ["camel", "document", "documents"]

_PARTS = re.compile(r"_([a-z0-9])")


def camel(word: str) -> str:
    """``label_selector`` → ``labelSelector``."""
    return _PARTS.sub(lambda part: part.group(1).upper(), word)


def document(body: Any) -> Any:
    """A body as JSON: mappings, models of the official client, typed objects of operators.

    Recorded values in it are unwrapped, however deep.  Raises TypeError for anything else.
    """
    body = unwrap(body)
    if body is None or isinstance(body, Mapping | list):
        return body
    if hasattr(body, "openapi_types"):
        from kubernetes.client import ApiClient

        return ApiClient().sanitize_for_serialization(body)  # type: ignore[no-untyped-call]
    from cove.operator.entities import Entity, to_document

    if isinstance(body, Entity):
        return to_document(body)
    raise TypeError(
        f"a body is a document (a dict), an object of the official client or of an operator's "
        f"types, not {type(body).__name__}"
    )


def documents(source: Any) -> Iterator[dict[str, Any]]:
    """The documents of YAML text, a file (a Path), a document, or several of these, in order.

    Documents that are null or name no kind are left out, as by kubectl; a List is its items.
    Raises ValueError for text that is no YAML, TypeError for what is no document.
    """
    source = unwrap(source)
    if isinstance(source, Path):
        yield from documents(source.read_text())
    elif isinstance(source, str | bytes):
        for each in _read(source):
            if each is not None and not isinstance(each, Mapping):
                raise ValueError(
                    f"a document is a mapping, not {type(each).__name__}: {str(each)[:60]!r}; a "
                    "file is given as a pathlib.Path"
                )
            yield from _one(each)
    elif isinstance(source, list | tuple):
        for each in source:
            yield from documents(each)
    elif source is not None:
        yield from _one(document(source))


def _read(text: str | bytes) -> list[Any]:
    """The documents of a text, whose values resolve as kubectl's do: there are no dates."""
    found = []
    try:
        loader = yaml_loader()(text)
        loader.repeated = []
        try:
            while loader.check_data():
                found.append(loader.get_data())
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as e:
        raise ValueError(f"this is no YAML: {e}") from e
    return found


def _one(each: Any) -> Iterator[dict[str, Any]]:
    if not each or not each.get("kind"):
        return
    if each["kind"] == "List" and isinstance(each.get("items"), list):
        for item in each["items"]:
            yield from _one(item)
        return
    _check_names(each)
    yield dict(each)


def _check_names(each: Mapping[str, Any]) -> None:
    """Names lead to paths: what is none would be refused for what it makes of them."""
    metadata = each.get("metadata")
    if not isinstance(metadata, Mapping):
        return
    for field in ("name", "generateName", "namespace"):
        value = metadata.get(field)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"metadata.{field} of a {each['kind']} is {not_text(value)}")
