"""What the files of configMap, secret, downwardAPI and projected volumes hold.  Pure.

Sources: https://kubernetes.io/docs/concepts/storage/projected-volumes/, ``MakePayload`` of
``pkg/volume/configmap`` and ``pkg/volume/secret``
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from cove.node.pods.env import Around, ConfigError, field, resource
from cove.node.pods.files import File

__all__ = ["config_map_files", "downward_files", "secret_files"]

Doc = Mapping[str, Any]


def _chosen(content: Mapping[str, bytes], source: Doc, mode: int, kind: str) -> dict[str, File]:
    items = source.get("items")
    if not items:
        return {key: File(data, mode) for key, data in content.items()}
    found: dict[str, File] = {}
    for item in items:
        if item["key"] not in content:
            if source.get("optional"):
                continue
            raise ConfigError(f"references non-existent {kind} key: {item['key']}")
        found[item["path"]] = File(content[item["key"]], item.get("mode", mode))
    return found


def config_map_files(name: str, source: Doc, mode: int, obj: Doc | None) -> dict[str, File]:
    """Path → file; raises ConfigError for what is not there and not optional."""
    if obj is None:
        if source.get("optional"):
            return {}
        raise ConfigError(f'configmap "{name}" not found')
    content = {k: v.encode() for k, v in (obj.get("data") or {}).items()}
    content |= {k: b64decode(v) for k, v in (obj.get("binaryData") or {}).items()}
    return _chosen(content, source, mode, "config")


def secret_files(name: str, source: Doc, mode: int, obj: Doc | None) -> dict[str, File]:
    """As :func:`config_map_files`, of a Secret."""
    if obj is None:
        if source.get("optional"):
            return {}
        raise ConfigError(f'secret "{name}" not found')
    content = {k: b64decode(v) for k, v in (obj.get("data") or {}).items()}
    return _chosen(content, source, mode, "secret")


def downward_files(pod: Doc, source: Doc, mode: int, around: Around) -> dict[str, File]:
    """The pod's own fields and resources as files."""
    found: dict[str, File] = {}
    for item in source.get("items") or ():
        if item.get("fieldRef"):
            text = field(pod, item["fieldRef"]["fieldPath"], around)
        else:
            ref = item["resourceFieldRef"]
            of: Doc = next(
                (
                    c
                    for kind in ("containers", "initContainers")
                    for c in pod["spec"].get(kind) or ()
                    if c["name"] == ref.get("containerName")
                ),
                {},
            )
            text = resource(of, ref["resource"], str(ref.get("divisor", "0")), around.allocatable)
        found[item["path"]] = File(text.encode(), item.get("mode", mode))
    return found
