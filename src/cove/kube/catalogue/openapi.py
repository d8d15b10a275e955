"""OpenAPI documents: Swagger 2 for all, and version 3 per group and version.

kubectl reads version 3 (explain, and whether the server validates fields); version 2 is
for older clients, client-side validation and the patch metadata of ``kubectl apply``.
Documents are made when asked for and are large: whoever serves them keeps the encoded
form for as long as :func:`v3_hash` says the same.

Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import orjson

from cove.kube.catalogue._definitions import (
    CustomKind,
    Definitions,
    described,
)
from cove.kube.catalogue._load import definition_group, definitions, stem_of
from cove.kube.catalogue._paths import Endpoint, paths
from cove.kube.catalogue._resources import DATA, groups, resources, versions

__all__ = ["CustomKind", "v2", "v3", "v3_hash", "v3_index"]

RELEASE = "v1.36.0"
# Moves when the same data makes other documents: clients keep what they got by its hash.
EDITION = "2"
_SECURITY = {
    "BearerToken": {
        "description": "Bearer Token authentication",
        "in": "header",
        "name": "authorization",
        "type": "apiKey",
    }
}


def v2(extra: Sequence[CustomKind] = ()) -> dict[str, Any]:
    """``GET /openapi/v2``: everything, custom kinds included."""
    out = Definitions(2, described())
    found: dict[str, Any] = {}
    for group in groups():
        for version in versions(group):
            out.package(stem_of(group, version))
            found.update(_built_in_paths(group, version, out))
    out.package("meta.v1")
    out.package("version")
    for kind in extra:
        found.update(_custom_paths(kind, out))
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": RELEASE},
        "paths": dict(sorted(found.items())),
        "definitions": dict(sorted(out.out.items())),
        "securityDefinitions": _SECURITY,
        "security": [{"BearerToken": []}],
    }


def v3(group: str, version: str, extra: Sequence[CustomKind] = ()) -> dict[str, Any] | None:
    """``GET /openapi/v3/apis/<group>/<version>``; None where nothing is served.

    ``extra`` are the custom kinds of this group and version.
    """
    extra = [k for k in extra if (k.group, k.version) == (group, version)]
    built_in = version in versions(group)
    if not built_in and not extra:
        return None
    out = Definitions(3, described())
    found: dict[str, Any] = {}
    if built_in:
        stem = stem_of(group, version)
        for name, entry in definitions(stem).items():
            if definition_group(entry) is not None:
                out.built_in(stem, name)
        found.update(_built_in_paths(group, version, out))
    for kind in extra:
        found.update(_custom_paths(kind, out))
    for name in ("APIResourceList", "DeleteOptions", "Status", "WatchEvent"):
        out.built_in("meta.v1", name)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": RELEASE},
        "paths": dict(sorted(found.items())),
        "components": {
            "schemas": dict(sorted(out.out.items())),
            "securitySchemes": _SECURITY,
        },
    }


def v3_index(extra: Sequence[CustomKind] = ()) -> dict[str, Any]:
    """``GET /openapi/v3``: where the document of each group and version is."""
    places = {(g, v) for g in groups() for v in versions(g)}
    places |= {(k.group, k.version) for k in extra}
    out: dict[str, Any] = {}
    for group, version in sorted(places):
        path = f"apis/{group}/{version}" if group else f"api/{version}"
        digest = v3_hash(group, version, extra)
        out[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": dict(sorted(out.items()))}


def v3_hash(group: str, version: str, extra: Sequence[CustomKind] = ()) -> str:
    """A digest that changes when the document of a group and version does."""
    digest = hashlib.sha512(_built_in_digest(group, version))
    for kind in extra:
        if (kind.group, kind.version) == (group, version):
            parts = [kind.kind, kind.plural, kind.namespaced, kind.schema, kind.subresources]
            digest.update(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS))
    return digest.hexdigest().upper()


@cache
def _built_in_digest(group: str, version: str) -> bytes:
    raw = f"{RELEASE} {EDITION} {group}/{version}".encode()
    if version in versions(group):
        for stem in (stem_of(group, version), "meta.v1"):
            raw += (DATA / "schemas" / f"{stem}.json").read_bytes()
    return hashlib.sha512(raw).digest()


class _Common:
    """References that every operation shares."""

    def __init__(self, out: Definitions) -> None:
        self.delete_options = out.reference(out.built_in("meta.v1", "DeleteOptions"))
        self.status = out.reference(out.built_in("meta.v1", "Status"))
        self.patch = out.reference(out.patch())


def _built_in_paths(group: str, version: str, out: Definitions) -> dict[str, Any]:
    common = _Common(out)
    found: dict[str, Any] = {}
    for r in resources():
        if (r.group, r.version) != (group, version):
            continue
        places = [("", r.verbs, (r.group, r.version, r.kind))]
        places += [(s.name, s.verbs, (s.group, s.version, s.kind)) for s in r.subresources.values()]
        for subresource, verbs, kind in places:
            found.update(
                paths(
                    Endpoint(
                        group,
                        version,
                        r.plural,
                        subresource,
                        r.namespaced,
                        verbs,
                        r.kind,
                        kind,
                        _reference(out, *kind),
                        _reference(out, kind[0], kind[1], kind[2] + "List"),
                        common.delete_options,
                        common.status,
                        common.patch,
                    ),
                    out.version,
                )
            )
    return found


@cache
def _kinds(stem: str) -> Mapping[str, None]:
    return dict.fromkeys(definitions(stem))


def _reference(out: Definitions, group: str, version: str, kind: str) -> dict[str, Any] | None:
    stem = stem_of(group, version)
    if kind not in _kinds(stem):
        return None
    return out.reference(out.built_in(stem, kind))


def _custom_paths(kind: CustomKind, out: Definitions) -> dict[str, Any]:
    common = _Common(out)
    name, list_name = out.custom(kind)
    body, listed = out.reference(name), out.reference(list_name)
    own = (kind.group, kind.version, kind.kind)
    found: dict[str, Any] = {}
    for subresource in ("", *kind.subresources):
        is_scale = subresource == "scale"
        scale = _reference(out, "autoscaling", "v1", "Scale") if is_scale else None
        found.update(
            paths(
                Endpoint(
                    kind.group,
                    kind.version,
                    kind.plural,
                    subresource,
                    kind.namespaced,
                    ("get", "patch", "update") if subresource else kind.verbs,
                    kind.kind,
                    ("autoscaling", "v1", "Scale") if is_scale else own,
                    scale if is_scale else body,
                    listed,
                    common.delete_options,
                    common.status,
                    common.patch,
                    custom=True,
                ),
                out.version,
            )
        )
    return found
