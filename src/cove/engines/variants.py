"""Variants: one cluster's kubeconfig, once for each kind of reader.

::

    FOLDER/                            0700: this user's alone
        cluster/kubeconfig.yaml        raw, as the engine wrote it; never changed here
        local/kubeconfig.yaml          0600: for programs of this machine
        container/kubeconfig.yaml      0644: mounted into containers, folder and all

The folders are there before any container is: an engine makes a directory of whatever it
is to mount and cannot find.  A container sees a new file only through its folder, so that
is what is mounted, and new content is renamed into place: no reader ever sees half of it.
"""

from __future__ import annotations

import os
import re
import tempfile
from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

__all__ = ["FILE", "IncompleteError", "Variants", "publish", "readdressed"]

FILE = "kubeconfig.yaml"
_PRIVATE = 0o600
# Processes in containers are users of their own.  On this machine nobody gets here: the
# folder above is its user's alone.
_READABLE = 0o644
_READABLE_FOLDER = 0o755
_END = re.compile(rb"-----END [A-Z0-9 ]+-----\s*\Z")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class IncompleteError(ValueError):
    """A kubeconfig that somebody is still writing, or none at all."""


def publish(path: Path, text: str, mode: int = _PRIVATE) -> bool:
    """Make ``text`` the content of a file, all at once; False if it was already.

    Two who write at the same time do not meet: the last one wins.
    """
    data = text.encode()
    with suppress(FileNotFoundError):
        if path.read_bytes() == data:
            return False
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return True


def readdressed(raw: str, server: str, *, tls_server_name: str = "") -> str:
    """A kubeconfig with another address of the same server; what it trusts stays.

    ``tls_server_name`` is the name that the server's certificate has, where that is not
    the address's.  Raises :class:`IncompleteError` for what is no whole kubeconfig, and for
    one without an authority to verify the server by.
    """
    doc = _whole(raw)
    for entry in doc["clusters"]:
        cluster = entry["cluster"]
        cluster["server"] = server
        if tls_server_name:
            cluster["tls-server-name"] = tls_server_name
    return yaml.safe_dump(doc, sort_keys=False)


def _whole(raw: str) -> dict[str, Any]:
    try:
        doc = yaml.load(raw, Loader=_Loader)
    except yaml.YAMLError as e:
        raise IncompleteError(f"it is no YAML: {' '.join(str(e).split())}") from e
    if not isinstance(doc, dict):
        raise IncompleteError("it is empty")
    entries = {"clusters": "cluster", "users": "user", "contexts": "context"}
    for section, key in entries.items():
        listed = doc.get(section)
        if not isinstance(listed, list) or not listed:
            raise IncompleteError(f"it has no {section}")
        if not all(isinstance(e, dict) and isinstance(e.get(key), dict) for e in listed):
            raise IncompleteError(f"its {section} are not complete")
    names = {section: {e.get("name") for e in doc[section]} for section in entries}
    for entry in doc["contexts"]:
        there = entry["context"]
        if there.get("cluster") not in names["clusters"] or there.get("user") not in names["users"]:
            raise IncompleteError("its contexts are not complete")
    if doc.get("current-context") not in names["contexts"]:
        raise IncompleteError("it has no current-context")
    for entry in doc["clusters"]:
        _verified(entry["cluster"])
        _pem(entry["cluster"], "certificate-authority-data")
    for entry in doc["users"]:
        user = entry["user"]
        if not user.get("token"):
            _pem(user, "client-certificate-data")
            _pem(user, "client-key-data")
    return doc


def _pem(entry: Mapping[str, Any], key: str) -> None:
    """A text cut in the middle of a certificate is still YAML."""
    try:
        data = b64decode(entry.get(key) or "", validate=True)
    except ValueError as e:
        raise IncompleteError(f"its {key} is cut off") from e
    if not _END.search(data):
        raise IncompleteError(f"its {key} is cut off")


def _verified(cluster: Mapping[str, Any]) -> None:
    if cluster.get("insecure-skip-tls-verify"):
        raise IncompleteError("it does without verifying the server")
    if not cluster.get("certificate-authority-data"):
        raise IncompleteError("it has no certificate-authority-data to verify the server by")


class Variants:
    """The kubeconfigs of one cluster in its state folder; see the module."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.raw = folder / "cluster" / FILE
        self.local = folder / "local" / FILE
        self.container = folder / "container" / FILE

    def prepare(self) -> None:
        """Make the folders, each with its mode."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        for file in (self.raw, self.local):
            file.parent.mkdir(mode=0o700, exist_ok=True)
            file.parent.chmod(0o700)
        self.prepare_container()

    def derive(self, *, local: str, container: str) -> bool:
        """Write both variants for these servers' URLs; whether either changed.

        Raises FileNotFoundError while the engine has written nothing, PermissionError if it
        wrote for somebody else, :class:`IncompleteError` while it is at it.
        """
        raw = self.raw.read_text()
        texts = [readdressed(raw, local), readdressed(raw, container)]
        changed = publish(self.local, texts[0])
        return publish(self.container, texts[1], _READABLE) or changed

    def put_container(self, text: str) -> Path:
        """Write the containers' variant alone; the folder to mount."""
        self.prepare_container()
        publish(self.container, text, _READABLE)
        return self.container.parent

    def prepare_container(self) -> None:
        """Make the folder that is mounted."""
        self.container.parent.mkdir(exist_ok=True)
        self.container.parent.chmod(_READABLE_FOLDER)

    def forget(self) -> None:
        """Delete what was derived: it is of a cluster that is no more.  The raw file stays."""
        for file in (self.local, self.container):
            file.unlink(missing_ok=True)
