"""Kubeconfigs that cove writes.  It never touches ``~/.kube/config`` unless asked to."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cove.kube.status import CoveError

if TYPE_CHECKING:
    from cove.pki import Pair

__all__ = ["MergeError", "admin_kubeconfig", "merge", "unmerge"]


class MergeError(CoveError):
    """The user's kubeconfig cannot be merged into."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} cannot be merged into: {why}; it has not been changed")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def admin_kubeconfig(url: str, context: str, authority: bytes, admin: Pair) -> str:
    """A kubeconfig of one cluster, one user and one context, everything inline.

    JSON strings are YAML strings, so nothing needs a YAML writer here.  The name is one: ``off``,
    ``1e3`` and ``2026-01-01`` are names of clusters, and no strings where they stand alone.
    """
    context = json.dumps(context)
    return (
        "apiVersion: v1\n"
        "kind: Config\n"
        f"current-context: {context}\n"
        "clusters:\n"
        f"- name: {context}\n"
        "  cluster:\n"
        f"    server: {url}\n"
        f"    certificate-authority-data: {_text(authority)}\n"
        "users:\n"
        f"- name: {context}\n"
        "  user:\n"
        f"    client-certificate-data: {_text(admin.certificate)}\n"
        f"    client-key-data: {_text(admin.key)}\n"
        "contexts:\n"
        f"- name: {context}\n"
        "  context:\n"
        f"    cluster: {context}\n"
        f"    user: {context}\n"
    )


def _load(path: Path) -> dict[str, Any]:
    import yaml

    try:
        doc = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        doc = None
    except yaml.YAMLError as e:
        raise MergeError(path, f"it is no YAML ({' '.join(str(e).split())})") from e
    except (OSError, UnicodeDecodeError) as e:
        raise MergeError(path, str(e)) from e
    if doc is None:
        doc = {"apiVersion": "v1", "kind": "Config"}
    if not isinstance(doc, dict):
        raise MergeError(path, "it is not a kubeconfig")
    for key in ("clusters", "users", "contexts"):
        entries = doc.get(key) or []
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise MergeError(path, f"its {key} are not those of a kubeconfig")
    return doc


def _save(path: Path, doc: dict[str, Any]) -> None:
    import yaml

    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.cove")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        yaml.safe_dump(doc, file, sort_keys=False)
    draft.replace(path)


def merge(target: Path, source: Path, name: str) -> None:
    """Put the context ``name`` of ``source`` into ``target`` and make it the current one.

    Entries of other names stay as they are.  Raises :class:`MergeError`.
    """
    into, added = _load(target), _load(source)
    for key in ("clusters", "users", "contexts"):
        entries = [e for e in into.get(key) or [] if e.get("name") != name]
        entries += [e for e in added.get(key) or [] if e.get("name") == name]
        into[key] = entries
    into["current-context"] = name
    _save(target, into)


def unmerge(target: Path, name: str, server: str) -> bool:
    """Take the entries called ``name`` out of ``target``; whether there were any.

    A cluster of that name at another ``server`` is somebody else's and stays, and a file
    that nothing was merged into is not even looked at closely.
    """
    try:
        if not server or server not in target.read_text():
            return False
    except (OSError, UnicodeDecodeError):
        return False
    doc = _load(target)
    mine = {"name": name, "server": server}
    if mine not in [
        {"name": e.get("name"), "server": (e.get("cluster") or {}).get("server")}
        for e in doc.get("clusters") or []
    ]:
        return False
    for key in ("clusters", "users", "contexts"):
        doc[key] = [e for e in doc.get(key) or [] if e.get("name") != name]
    if doc.get("current-context") == name:
        doc["current-context"] = doc["contexts"][0]["name"] if doc["contexts"] else ""
    _save(target, doc)
    return True
