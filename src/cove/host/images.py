"""Images: the names in documents and values, replaced by what was built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cove.host.errors import AppError
from cove.host.helm import values as given

__all__ = ["Built", "defaults", "in_document", "in_values", "named", "without_tag"]

Doc = Mapping[str, Any]
Find = Callable[[str], "Built | None"]
_LISTS = ("containers", "initContainers", "ephemeralContainers")


@dataclass(frozen=True, slots=True)
class Built:
    """An image as the cluster can have it.

    ``repository`` is what pods call it, ``localhost:5000/shop/gateway``; ``tag`` the hash of
    its content; ``digest`` the registry's, "" where there is none and nodes were given it.
    """

    artifact: str
    repository: str
    tag: str
    digest: str = ""

    @property
    def reference(self) -> str:
        """What pods are told: by digest where there is one."""
        return f"{self.repository}@{self.digest}" if self.digest else self.tagged

    @property
    def tagged(self) -> str:
        """By tag, for people and builders."""
        return f"{self.repository}:{self.tag}"

    @property
    def tag_and_digest(self) -> str:
        """What stands after ``repository:`` in a chart that puts the two together."""
        return f"{self.tag}@{self.digest}" if self.digest else self.tag


def without_tag(image: str) -> str:
    """``shop/web`` of ``shop/web:1`` or ``shop/web@sha256:…``."""
    name = image.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return name if not colon or "/" in tag else head


def named(image: str, names: Mapping[str, str]) -> str:
    """The artifact that an image means, by its whole name or without its tag; "" for none."""
    return names.get(image) or names.get(without_tag(image)) or ""


def in_document(doc: Any, find: Find) -> Any:
    """A document whose containers have what was built for the images that ``find`` knows.

    Containers are looked for at any depth, so in custom resources as well.  What does not
    change is shared with ``doc``.
    """
    if isinstance(doc, Mapping):
        out: dict[str, Any] = {}
        for key, value in doc.items():
            if key in _LISTS and isinstance(value, list):
                out[key] = [_container(each, find) for each in value]
            else:
                out[key] = in_document(value, find)
        return out
    if isinstance(doc, list):
        return [in_document(each, find) for each in doc]
    return doc


def _container(container: Any, find: Find) -> Any:
    if not isinstance(container, Mapping) or not isinstance(container.get("image"), str):
        return container
    built = find(container["image"])
    return container if built is None else {**container, "image": built.reference}


def in_values(
    values: Mapping[str, Any],
    defaults: Mapping[str, Any],
    images: Mapping[str, Built],
    find: Find,
) -> dict[str, Any]:
    """What has to be added to a release's values so that it has the images.

    ``images`` are by path of the value.  Where it is empty every value that ``find`` knows as
    an image, or a mapping whose ``repository`` it knows, is one.  Raises AppError
    for a path that is none.
    """
    if not images:
        return _found(given.merge(dict(defaults), values), find)
    out: dict[str, Any] = {}
    merged = given.merge(dict(defaults), values)
    for path, built in images.items():
        try:
            keys = given.parse_path(path)
        except given.ValuesError as e:
            raise AppError(f'the image value "{path}": {e}') from e
        if any(isinstance(key, int) for key in keys):
            raise AppError(f'the image value "{path}" is in a list: name a mapping')
        now: Any = merged
        for key in keys:
            now = now.get(key) if isinstance(now, Mapping) else None
        place = out
        for key in keys[:-1]:
            place = place.setdefault(str(key), {})
        place[str(keys[-1])] = _value(now, built)
    return out


def defaults(chart: Path | None) -> Mapping[str, Any]:
    """The values of a chart that is a folder here; nothing of one that has to be fetched."""
    file = chart / "values.yaml" if chart is not None else None
    if file is None or not file.is_file():
        return {}
    try:
        return given.read(file)
    except (given.ValuesError, OSError):
        return {}  # Helm says what is wrong with it


def _value(now: Any, built: Built) -> Any:
    """A value that means an image, in the form that the chart has it in."""
    if not isinstance(now, Mapping):
        return built.reference
    out: dict[str, Any] = {}
    repository = built.repository
    if "registry" in now:
        out["registry"], _, repository = repository.partition("/")
    key = "name" if "name" in now and "repository" not in now else "repository"
    out[key] = repository
    if "digest" in now and built.digest:
        out["tag"], out["digest"] = built.tag, built.digest
    else:
        out["tag"] = built.tag_and_digest
    return out


def _found(values: Mapping[str, Any], find: Find) -> dict[str, Any]:
    """The values that name an image by themselves, replaced."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            repository = value.get("repository")
            built = find(repository) if isinstance(repository, str) else None
            more = _value(value, built) if built is not None else _found(value, find)
            if more:
                out[str(key)] = more
        elif isinstance(value, str) and str(key).lower().endswith("image"):
            built = find(value)
            if built is not None:
                out[str(key)] = built.reference
    return out
