"""The existing engine: any cluster that a context of a kubeconfig leads to.

Nothing is made in it by this engine, and nothing deleted, but for a namespace that was asked
for; that is said.  A cluster that is not on this
machine may be somebody's production: it is refused until its context was allowed, by
``COVE_ALLOW_CONTEXTS`` or a file in ``$COVE_HOME``.  The user's kubeconfig is only read;
programs get a small one of their own, with that context alone, in a folder that ends with
the session.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shlex
import shutil
import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import yaml

from cove.client import Client, kubeconfig
from cove.client.errors import KubeconfigError
from cove.engines._work import finished
from cove.engines.cluster import Cluster, ClusterOptions, EngineName, Health, OptionError
from cove.engines.credentials import HOST_OF_CONTAINERS
from cove.engines.door import DoorError, Relay, door_host, engine_for
from cove.engines.health import ASKING, judged, nodes_of, readyz, why_not
from cove.engines.home import home
from cove.engines.variants import Variants, publish
from cove.kube.gvk import GVR
from cove.kube.status import CoveError, StatusError

__all__ = [
    "ALLOWED",
    "LABEL",
    "VARIABLE",
    "ExistingCluster",
    "NotAllowedError",
    "allowed",
    "loopback",
    "standalone",
]

VARIABLE = "COVE_ALLOW_CONTEXTS"
# In $COVE_HOME; a context on each line.
ALLOWED = "allowed-contexts"

Doc = dict[str, Any]
NAMESPACES = GVR("", "v1", "namespaces")
# Whose a namespace is, so that nothing else is ever deleted.
LABEL = "dev.cove/cluster"
_LOCK = ".lock"
# Options that say how a cluster is made: this one is made already.
_MAKING = (
    "agents",
    "api_port",
    "pod_subnet",
    "service_subnet",
    "disable",
    "extra_args",
    "data_volume",
    "domains",
    "mirrors",
    "images",
    "k3s",
    "ports",
)


class NotAllowedError(CoveError):
    """The context leads beyond this machine, and nobody has allowed that."""


def allowed() -> frozenset[str]:
    """The contexts that may be used although they lead beyond this machine."""
    names = set(os.environ.get(VARIABLE, "").split(","))
    try:
        names.update((home() / ALLOWED).read_text().splitlines())
    except FileNotFoundError:
        pass
    except OSError as e:
        raise OptionError(f"{home() / ALLOWED} cannot be read: {e.strerror}") from e
    return frozenset(n.strip() for n in names if n.strip() and not n.lstrip().startswith("#"))


def loopback(url: str) -> bool:
    """Whether a URL leads to this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def standalone(merged: Mapping[str, Any], context: str | None) -> Doc:
    """A kubeconfig of one context out of a merged one, which needs no other file.

    Certificates and keys are in it; the file of a token, which changes, is named by its
    whole path, and so is a plugin.  Raises KubeconfigError.
    """
    name = context or merged["current-context"]
    known = ", ".join(merged["contexts"]) or "none"
    if not name:
        raise KubeconfigError(
            "kubeconfig",
            "current-context",
            f"is not set, and no context was named; there are: {known}",
        )
    chosen = _entry(merged, "contexts", name)
    cluster = _inlined(*_entry(merged, "clusters", str(chosen[0].get("cluster") or "")))
    user: Doc = {}
    if chosen[0].get("user"):
        user = _inlined(*_entry(merged, "users", str(chosen[0]["user"])))
    if isinstance(user.get("exec"), dict):
        user["exec"] = _plugin(user["exec"], Path(_entry(merged, "users", chosen[0]["user"])[1]))
    there = {**chosen[0], "cluster": name, "user": name}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": there}],
    }


def _entry(merged: Mapping[str, Any], section: str, name: str) -> tuple[Doc, str, str]:
    """(what is called so, its file, its key there)."""
    found = merged[section].get(name)
    if found is None:
        known = ", ".join(merged[section]) or "none"
        raise KubeconfigError("kubeconfig", section, f'none is called "{name}"; there are: {known}')
    value, file, key = found
    return dict(value), file, key


def _inlined(entry: Doc, file: str, key: str) -> Doc:
    """With the content of the files it names; inline data wins, as upstream has it."""
    for name in ("certificate-authority", "client-certificate", "client-key"):
        path = entry.pop(name, None)
        if path and not entry.get(f"{name}-data"):
            try:
                data = Path(path).read_bytes()
            except OSError as e:
                raise KubeconfigError(
                    file, f"{key}.{name}", f"{path} cannot be read: {e.strerror}"
                ) from e
            entry[f"{name}-data"] = b64encode(data).decode()
    if entry.get("tokenFile"):
        entry["tokenFile"] = str(Path(entry["tokenFile"]).absolute())
    return entry


def _plugin(plugin: Doc, file: Path) -> Doc:
    """A command with a path is relative to its kubeconfig; one without is on PATH."""
    command = str(plugin.get("command") or "")
    if os.sep in command:
        command = str((file.parent / command).absolute())
    return {**plugin, "command": command}


class ExistingCluster(Cluster):
    """A cluster that was there before, and is there afterwards.

    Entering raises KubeconfigError, NotAllowedError, and CoveError when nobody answers.
    """

    engine: EngineName = "existing"

    def __init__(self, name: str, options: ClusterOptions, *, log: Callable[[str], None]) -> None:
        self.name = name
        self.options = options
        self.context = ""
        self._log = log
        self._stack = AsyncExitStack()
        self._client: Client | None = None
        self._doc: Doc = {}
        self._variants: Variants | None = None
        self._version = ""
        self._opening = asyncio.Lock()
        self._port = 0

    async def __aenter__(self) -> Self:
        files = None if self.options.kubeconfig is None else [self.options.kubeconfig]
        merged = await asyncio.to_thread(kubeconfig.read, files)
        self._doc = await asyncio.to_thread(standalone, merged, self.options.context)
        self.context = self._doc["current-context"]
        self._check_allowed()
        if self.options.namespace:
            self._doc["contexts"][0]["context"]["namespace"] = self.options.namespace
        async with AsyncExitStack() as stack:
            self._variants = await finished(self._folder, stack)
            connection = await asyncio.to_thread(kubeconfig.load, self.kubeconfig_path)
            self._client = await stack.enter_async_context(Client.connect(connection))
            await self._take_namespace(stack)
            self._version = (await self._client.request("GET", "/version")).get("gitVersion", "")
            self._stack = stack.pop_all()
        self._tell()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    @property
    def _cluster(self) -> Doc:
        found: Doc = self._doc["clusters"][0]["cluster"]
        return found

    @property
    def _local(self) -> bool:
        """Whether it is on this machine; who is asked through a proxy may be anywhere."""
        return loopback(self.url) and not self._cluster.get("proxy-url")

    def _check_allowed(self) -> None:
        server = str(self._cluster.get("server") or "")
        if not server.startswith(("http://", "https://")):
            raise KubeconfigError("kubeconfig", f"{self.context}: server", "is not an http(s) URL")
        if self._local or self.context in allowed():
            return
        name, file = shlex.quote(self.context), shlex.quote(str(home() / ALLOWED))
        raise NotAllowedError(
            f'the context "{self.context}" leads to {server}, which is not on this machine, and '
            f"was not allowed: for once, `export {VARIABLE}={name}`; for good, "
            f"`mkdir -p {shlex.quote(str(home()))} && echo {name} >> {file}`"
        )

    async def _take_namespace(self, stack: AsyncExitStack) -> None:
        """Have the namespace there; one of ours goes with the session, unless that lasts.

        What is in it goes with it.  Somebody else's is used and left as it is.
        """
        name = self.options.namespace
        if not name:
            return
        labels = {LABEL: self.name}
        try:
            await self.client.create(NAMESPACES, {"metadata": {"name": name, "labels": labels}})
            self._log(f"the namespace {name} was made in the context {self.context}")
        except StatusError as e:
            if e.reason != "AlreadyExists":
                raise
            found = await self.client.get(NAMESPACES, name)
            if (found["metadata"].get("labels") or {}).get(LABEL) != self.name:
                self._log(f"the namespace {name} of the context {self.context} is used as it is")
                return
            self._log(
                f"the namespace {name} in the context {self.context} is of an earlier session"
            )
        if self.options.lifetime == "session":
            stack.push_async_callback(self._leave_namespace, name)

    async def _leave_namespace(self, name: str) -> None:
        try:
            await self.client.delete(NAMESPACES, name)
            self._log(f"the namespace {name} is deleted from the context {self.context}")
        except ASKING as e:
            self._log(
                f"the namespace {name} is left in the context {self.context}: {why_not(e)}; "
                f"`kubectl delete namespace -l {LABEL}={self.name}` removes it"
            )

    def _folder(self, stack: AsyncExitStack) -> Variants:
        """A folder of this session's, with the kubeconfig; what crashed sessions left goes."""
        root = home() / self.engine
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in root.iterdir():
            if not left.name.startswith("."):
                _remove_unless_held(left)
        prefix = re.sub(r"[^\w.-]", "-", self.name)
        # Hidden until it is held: another session would take it for one that was left.
        hidden = Path(tempfile.mkdtemp(prefix=f".{prefix}-", dir=root))
        folder = hidden.with_name(hidden.name.removeprefix("."))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        lock = os.open(hidden / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        stack.callback(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        hidden.rename(folder)
        variants = Variants(folder)
        variants.local.parent.mkdir(mode=0o700)
        publish(variants.local, yaml.safe_dump(self._doc, sort_keys=False))
        return variants

    def _tell(self) -> None:
        """What was asked for and is as it is in this cluster."""
        default = ClusterOptions()
        asked = [n for n in _MAKING if getattr(self.options, n) != getattr(default, n)]
        if asked:
            self._log(
                f"the cluster of the context {self.context} is there already: {', '.join(asked)} "
                "are as they are there"
            )
        wanted = (self.options.version or "").removeprefix("v").partition("-")[0]
        if wanted and not f"{self._version.removeprefix('v')}.".startswith(f"{wanted}."):
            self._log(
                f"the cluster of the context {self.context} is Kubernetes {self._version}, not "
                f"{self.options.version}"
            )
        if self._cluster.get("insecure-skip-tls-verify"):
            self._log(f"the context {self.context} says not to verify its server")

    @property
    def url(self) -> str:
        """The server that the context names."""
        return str(self._cluster["server"])

    @property
    def client(self) -> Client:
        """A client with the context's user."""
        assert self._client is not None, "the cluster was not entered"
        return self._client

    @property
    def kubeconfig_path(self) -> Path:
        """The context alone, 0600; gone when the cluster is left."""
        assert self._variants is not None, "the cluster was not entered"
        return self._variants.local

    @property
    def namespace(self) -> str:
        """The one that was asked for, else ``default``."""
        return self.options.namespace or "default"

    @property
    def container_networks(self) -> tuple[str, ...]:
        """None: whatever network reaches the server."""
        return ()

    async def container_kubeconfig(self, network: str) -> Path:
        """See :class:`Cluster`.

        A server on this machine's loopback is reached through a relay that lasts as long as
        the session; the name in its certificate stays the one that is verified
        (``tls-server-name``).  Raises DoorError for users whom a plugin authenticates:
        containers do not have it.
        """
        cluster = dict(self._cluster)
        user = await asyncio.to_thread(self._user_inside)
        if loopback(str(cluster.get("proxy-url") or "")):
            raise DoorError(
                f"containers cannot reach the cluster {self.name}: its context goes through the "
                f"proxy {cluster['proxy-url']} of this machine"
            )
        if self._local:
            await self._through_relay(cluster)
        doc = {
            **self._doc,
            "clusters": [{"name": self.context, "cluster": cluster}],
            "users": [{"name": self.context, "user": user}],
        }
        assert self._variants is not None, "the cluster was not entered"
        text = yaml.safe_dump(doc, sort_keys=False)
        return await asyncio.to_thread(self._variants.put_container, text)

    def _user_inside(self) -> Doc:
        user = dict(self._doc["users"][0]["user"])
        for method in ("exec", "auth-provider"):
            if user.get(method):
                raise DoorError(
                    f"containers cannot use the context {self.context}: its user is authenticated "
                    f"by a plugin ({method}) of this machine; give them a context with a token, "
                    "such as `kubectl create token` makes"
                )
        path = user.pop("tokenFile", None)
        if path:
            user["token"] = Path(path).read_text().strip()
        return user

    async def _through_relay(self, cluster: Doc) -> None:
        """The way in for containers, put into ``cluster``."""
        url = urlsplit(self.url)
        host = url.hostname or ""
        port = url.port or (443 if url.scheme == "https" else 80)
        async with self._opening:
            if not self._port:
                what = (
                    f"containers cannot reach the cluster {self.name}, which listens on "
                    f"{url.netloc} of this machine alone"
                )
                engine = await finished(engine_for, self.options.container_engine, what)
                door = await door_host(engine)
                if sys.platform == "linux":
                    relay = Relay(door, (host, port))
                    self._port = (await self._stack.enter_async_context(relay)).port
                else:
                    self._port = port
        cluster["server"] = urlunsplit(url._replace(netloc=f"{HOST_OF_CONTAINERS}:{self._port}"))
        if url.scheme == "https":
            cluster.setdefault("tls-server-name", host)

    @property
    def properties(self) -> Mapping[str, str]:
        """Engine, context, server, version."""
        return {
            "engine": self.engine,
            "context": self.context,
            "server": self.url,
            "version": self._version,
        }

    async def health(self) -> Health:
        """Whether a node is ready; who may not see nodes is told what the server says of itself."""
        try:
            return judged(await nodes_of(self.client), 1)
        except ASKING as e:
            if isinstance(e, StatusError) and e.code == 403:
                return await readyz(self.client)
            return Health(False, why_not(e))


def _remove_unless_held(folder: Path) -> None:
    """Remove a session's folder whose process is gone."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(lock)
