"""Volumes: the directories of a pod on the host, made, kept up to date and removed.

::

    FOLDER/UID/volumes/NAME        emptyDir, configMap, secret, downwardAPI, projected
    FOLDER/UID/etc-hosts …         what the driver keeps besides

hostPath and PersistentVolumes of it are where they say.  Kinds that need a storage system
(nfs, csi, iscsi …) are refused in words.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cove.client import Client, Clock, Informer
from cove.kube.gvk import GVR
from cove.kube.status import CoveError, StatusError
from cove.kube.times import parse_time
from cove.node.pods.env import Around, ConfigError
from cove.node.pods.files import File, write
from cove.node.pods.payload import config_map_files, downward_files, secret_files

__all__ = ["PROVISIONED", "HostVolume", "VolumeError", "Volumes"]

Doc = Mapping[str, Any]

SERVICE_ACCOUNTS = GVR("", "v1", "serviceaccounts")
# What the provisioner of cove.dev/local writes into its PersistentVolumes.
PROVISIONED = "/var/lib/cove/volumes/"


class VolumeError(CoveError):
    """A volume cannot be mounted (yet); the text is what FailedMount says."""


class HostVolume(NamedTuple):
    """Where a volume is on the host; ``tmpfs`` its size limit in bytes (0 none), or None.

    ``read_only`` whatever a container wants.
    """

    path: str
    read_only: bool = False
    tmpfs: int | None = None


class _Token(NamedTuple):
    text: str
    # Of the clock's monotonic seconds: when a new one is wanted.
    renew: float


class Volumes:
    """The volumes of all pods below ``folder``; ``local`` is where provisioned ones live."""

    def __init__(
        self,
        client: Client,
        folder: Path,
        local: Path,
        *,
        config_maps: Informer,
        secrets: Informer,
        claims: Informer,
        volumes: Informer,
        clock: Clock,
        ca: Callable[[], str],
    ) -> None:
        self.folder = folder
        self._client = client
        self._local = local
        self._config_maps = config_maps
        self._secrets = secrets
        self._claims = claims
        self._volumes = volumes
        self._clock = clock
        self._ca = ca
        self._tokens: dict[tuple[str, str, str], _Token] = {}

    def pod_folder(self, pod: Doc) -> Path:
        """Where what belongs to a pod lives."""
        return self.folder / str(pod["metadata"]["uid"])

    async def set_up(self, pod: Doc, around: Around) -> dict[str, HostVolume]:
        """Volume → where it is; raises :class:`VolumeError` for the first that is not ready.

        Called again it brings files up to date and keeps what the pod has written.
        """
        found: dict[str, HostVolume] = {}
        for volume in pod["spec"].get("volumes") or ():
            try:
                found[volume["name"]] = await self._one(volume, pod, around)
            except (ConfigError, OSError, StatusError) as e:
                raise VolumeError(
                    f'MountVolume.SetUp failed for volume "{volume["name"]}" : {e}'
                ) from e
        return found

    async def tear_down(self, uid: str) -> None:
        """Remove what :meth:`set_up` made for a pod."""
        for key in [k for k in self._tokens if k[0] == uid]:
            del self._tokens[key]
        await asyncio.to_thread(shutil.rmtree, self.folder / uid, ignore_errors=True)

    def next_renewal(self, uid: str) -> float | None:
        """When a token of the pod is to be renewed, monotonic; None without tokens."""
        return min((t.renew for k, t in self._tokens.items() if k[0] == uid), default=None)

    def depends_on(self, pod: Doc, kind: str, name: str) -> bool:
        """Whether a ConfigMap or Secret is in one of the pod's volumes."""
        key, field = ("configMap", "name") if kind == "ConfigMap" else ("secret", "secretName")
        for volume in pod["spec"].get("volumes") or ():
            if (volume.get(key) or {}).get(field) == name:
                return True
            for source in (volume.get("projected") or {}).get("sources") or ():
                if (source.get(key) or {}).get("name") == name:
                    return True
        return False

    async def _one(self, volume: Doc, pod: Doc, around: Around) -> HostVolume:
        path = self.pod_folder(pod) / "volumes" / volume["name"]
        kind = next((k for k in volume if k != "name"), "emptyDir")
        source = volume.get(kind) or {}
        if kind == "emptyDir":
            return self._empty(path, source, pod)
        if kind == "hostPath":
            return HostVolume(_host_path(source))
        if kind in ("persistentVolumeClaim", "ephemeral"):
            name = source.get("claimName") or f"{pod['metadata']['name']}-{volume['name']}"
            return self._claimed(name, source, pod)
        if kind in _CONTENT:
            files = await self._content(kind, source, pod, around)
            await asyncio.to_thread(self._write, path, files, pod)
            return HostVolume(str(path), read_only=True)
        raise VolumeError(
            f'MountVolume.SetUp failed for volume "{volume["name"]}" : volumes of the kind {kind} '
            "need a storage system that a cluster of containers on one machine does not have; use "
            "emptyDir, hostPath or a persistentVolumeClaim"
        )

    # -- directories

    def _empty(self, path: Path, source: Doc, pod: Doc) -> HostVolume:
        if source.get("medium") == "Memory":
            from cove.kube.quantity import parse

            limit = source.get("sizeLimit")
            return HostVolume(str(path), tmpfs=int(parse(str(limit)).value) if limit else 0)
        if not path.is_dir():
            path.mkdir(parents=True)
            path.chmod(0o777)
            _give_to_group(path, pod)
        return HostVolume(str(path))

    def _claimed(self, name: str, source: Doc, pod: Doc) -> HostVolume:
        namespace = pod["metadata"]["namespace"]
        claim = self._claims.get(namespace, name)
        if claim is None:
            raise VolumeError(f'persistentvolumeclaim "{name}" not found')
        volume = self._volumes.get(None, claim["spec"].get("volumeName", ""))
        if volume is None or claim.get("status", {}).get("phase") != "Bound":
            raise VolumeError(f'persistentvolumeclaim "{name}" is not bound')
        spec = volume["spec"]
        read_only = bool(source.get("readOnly"))
        if spec.get("hostPath"):
            path = spec["hostPath"]["path"]
            if path.startswith(PROVISIONED):
                place = self._local / path.removeprefix(PROVISIONED)
                if not place.is_dir():
                    place.mkdir(parents=True)
                    place.chmod(0o777)
                    _give_to_group(place, pod)
                return HostVolume(str(place), read_only)
            return HostVolume(_host_path(spec["hostPath"]), read_only)
        if spec.get("local"):
            if not Path(spec["local"]["path"]).exists():
                raise VolumeError(f'path "{spec["local"]["path"]}" does not exist')
            return HostVolume(spec["local"]["path"], read_only)
        raise VolumeError(
            f"PersistentVolume {volume['metadata']['name']} is of a kind that needs a storage "
            "system; hostPath and local volumes can be mounted"
        )

    # -- files

    def _write(self, path: Path, files: Mapping[str, File], pod: Doc) -> None:
        group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        if group is not None:
            # Who is in the group may read what its owner may.
            files = {
                n: f._replace(gid=group, mode=f.mode | (f.mode & 0o400) >> 3)
                for n, f in files.items()
            }
        write(path, files, self._clock.now())

    async def _content(self, kind: str, source: Doc, pod: Doc, around: Around) -> dict[str, File]:
        namespace = pod["metadata"]["namespace"]
        mode = source.get("defaultMode", 0o644)
        if kind == "configMap":
            name = source["name"]
            return config_map_files(name, source, mode, self._config_maps.get(namespace, name))
        if kind == "secret":
            name = source["secretName"]
            return secret_files(name, source, mode, self._secrets.get(namespace, name))
        if kind == "downwardAPI":
            return downward_files(pod, source, mode, around)
        files: dict[str, File] = {}
        for part in source.get("sources") or ():
            files.update(await self._projected(part, mode, pod, around))
        return files

    async def _projected(self, part: Doc, mode: int, pod: Doc, around: Around) -> dict[str, File]:
        namespace = pod["metadata"]["namespace"]
        kind = next(iter(part))
        source = part[kind] or {}
        if kind == "configMap":
            name = source["name"]
            obj = self._config_maps.get(namespace, name)
            if obj is None and name == "kube-root-ca.crt":
                return {"ca.crt": File(self._ca().encode(), mode)}
            return config_map_files(name, source, mode, obj)
        if kind == "secret":
            name = source["name"]
            return secret_files(name, source, mode, self._secrets.get(namespace, name))
        if kind == "downwardAPI":
            return downward_files(pod, source, mode, around)
        if kind == "serviceAccountToken":
            token = await self._token(source, pod)
            # Upstream: readable by the pod's user alone, or by its group where it has one.
            context = pod["spec"].get("securityContext") or {}
            user = context.get("runAsUser")
            private = 0o600 if context.get("fsGroup") is None else 0o640
            own = user is not None or context.get("fsGroup") is not None
            return {source["path"]: File(token.encode(), private if own else mode, uid=user)}
        raise ConfigError(f"projected volumes of {kind} are not supported")

    async def _token(self, source: Doc, pod: Doc) -> str:
        metadata, audience = pod["metadata"], source.get("audience", "")
        key = (metadata["uid"], audience, source["path"])
        known = self._tokens.get(key)
        now = self._clock.monotonic()
        if known is not None and now < known.renew:
            return known.text
        spec: dict[str, Any] = {
            "expirationSeconds": source.get("expirationSeconds", 3600),
            "boundObjectRef": {
                "kind": "Pod",
                "apiVersion": "v1",
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
        }
        if audience:
            spec["audiences"] = [audience]
        account = pod["spec"].get("serviceAccountName") or "default"
        answer = await self._client.create(
            SERVICE_ACCOUNTS,
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
            metadata["namespace"],
            name=account,
            subresource="token",
        )
        status = answer["status"]
        lives = (parse_time(status["expirationTimestamp"]) - self._clock.now()).total_seconds()
        # Renewed at four fifths of its life, and at least once a day.
        self._tokens[key] = _Token(status["token"], now + min(lives * 0.8, 86400.0))
        return str(status["token"])


_CONTENT = ("configMap", "secret", "downwardAPI", "projected")


def _give_to_group(path: Path, pod: Doc) -> None:
    group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    if group is not None and os.geteuid() == 0:
        os.chown(path, -1, group)
        path.chmod(path.stat().st_mode & 0o7777 | stat.S_ISGID | 0o070)


_IS: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "directory"),
    "File": (stat.S_ISREG, "file"),
    "Socket": (stat.S_ISSOCK, "socket"),
    "CharDevice": (stat.S_ISCHR, "character device"),
    "BlockDevice": (stat.S_ISBLK, "block device"),
}


def _host_path(source: Doc) -> str:
    path, type_ = Path(source["path"]), source.get("type") or ""
    if type_ == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
        type_ = "Directory"
    elif type_ == "FileOrCreate":
        path.touch(exist_ok=True)
        type_ = "File"
    if type_:
        check, shown = _IS[type_]
        if not path.exists() or not check(path.stat().st_mode):
            raise VolumeError(f"hostPath type check failed: {path} is not a {shown}")
    elif not path.exists():
        # An engine would make a directory; so does every runtime of Kubernetes.
        path.mkdir(parents=True, exist_ok=True)
    return str(path)
