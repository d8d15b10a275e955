"""kubeconfig: which server to talk to and who to be there.

:func:`load` reads one file, a ``KUBECONFIG`` list (merged as kubectl merges it) or a
document and gives the :class:`Connection` of a context; :func:`in_cluster` is for a
process inside a pod.  Users that a plugin authenticates (exec, OIDC, cloud) go through
kubernetes-asyncio, which is the optional extra ``cove[auth]``.

Source: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

from __future__ import annotations

import base64
import binascii
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cove.client.errors import KubeconfigError

__all__ = ["Connection", "contexts", "in_cluster", "load", "read"]

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# Projected tokens are rotated well before they expire; client-go reads them once a minute.
TOKEN_AGE = 60.0


@dataclass(kw_only=True)
class Connection:
    """A server and a user.  Certificates and keys are PEM, b"" where there are none.

    ``token_file`` wins over ``token``; ``plugin`` gives an Authorization value and wins
    over both.  ``unix_socket`` is the path of a socket to connect to, whatever the host of
    ``server`` is (``kubectl proxy --unix-socket``), "" for none.  ``namespace`` is the context's, "default" if it says nothing.  ``origin``
    names where this came from, for messages.
    """

    server: str
    ca: bytes = b""
    insecure: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""
    unix_socket: str = ""
    client_certificate: bytes = b""
    client_key: bytes = b""
    token: str = ""
    token_file: str = ""
    username: str = ""
    password: str = ""
    impersonation: Mapping[str, str] = field(default_factory=dict)
    namespace: str = "default"
    origin: str = "(given)"
    plugin: Callable[[], Awaitable[str]] | None = field(default=None, repr=False)
    _read: tuple[float, str] = field(default=(0.0, ""), repr=False)

    async def authorization(self) -> str:
        """The Authorization header's value of now, "" for none."""
        if self.plugin is not None:
            return await self.plugin()
        token = self._token()
        if token:
            return f"Bearer {token}"
        if self.username:
            pair = f"{self.username}:{self.password}".encode()
            return f"Basic {base64.b64encode(pair).decode()}"
        return ""

    def _token(self) -> str:
        if not self.token_file:
            return self.token
        until, token = self._read
        now = time.monotonic()
        if not token or now >= until:
            try:
                token = Path(self.token_file).read_text().strip()
            except OSError as e:
                raise KubeconfigError(self.token_file, "", f"cannot be read: {e.strerror}") from e
            self._read = (now + TOKEN_AGE, token)
        return token


def read(files: Sequence[Path] | None = None) -> dict[str, Any]:
    """The merged kubeconfig: ``files``, else ``$KUBECONFIG``, else ``~/.kube/config``.

    The first file to name a cluster, user or context, or to choose the current context,
    wins.  Relative paths become absolute ones.  Files of a list may be missing; if none is
    there, KubeconfigError.
    """
    if files is None:
        listed = [Path(p) for p in os.environ.get("KUBECONFIG", "").split(os.pathsep) if p]
        files = listed or [Path.home() / ".kube" / "config"]
    merged: dict[str, Any] = {"clusters": {}, "users": {}, "contexts": {}, "current-context": ""}
    found = False
    for file in files:
        if not file.exists():
            continue
        found = True
        _merge(merged, _parse(file), file)
    if not found:
        names = os.pathsep.join(map(str, files))
        raise KubeconfigError(names, "", "there is no such file; set KUBECONFIG or pass a path")
    return merged


def _parse(file: Path) -> dict[str, Any]:
    try:
        doc = yaml.load(file.read_text(), Loader=_Loader)
    except OSError as e:
        raise KubeconfigError(str(file), "", f"cannot be read: {e.strerror}") from e
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise KubeconfigError(str(file), "", f"is not YAML: {e}") from e
    if doc is None:
        return {}
    if not isinstance(doc, dict):
        raise KubeconfigError(str(file), "", "is not a kubeconfig: no mapping at its top")
    return doc


_PATHS = {
    "cluster": ("certificate-authority",),
    "user": ("client-certificate", "client-key", "tokenFile"),
    "context": (),
}


def _merge(merged: dict[str, Any], doc: dict[str, Any], file: Path) -> None:
    if not merged["current-context"]:
        merged["current-context"] = doc.get("current-context") or ""
    for section, singular in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
        for index, entry in enumerate(doc.get(section) or ()):
            key = f"{section}[{index}]"
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                raise KubeconfigError(str(file), f"{key}.name", "is missing")
            value = entry.get(singular) or {}
            if not isinstance(value, dict):
                raise KubeconfigError(str(file), f"{key}.{singular}", "is not a mapping")
            value = dict(value)
            for name in _PATHS[singular]:
                if value.get(name):
                    value[name] = str(file.parent / str(value[name]))
            merged[section].setdefault(entry["name"], (value, f"{file}", f"{key}.{singular}"))


def contexts(config: Mapping[str, Any]) -> list[str]:
    """The names of the contexts of a merged kubeconfig, in the files' order."""
    return list(config["contexts"])


def load(
    source: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    *,
    context: str | None = None,
) -> Connection:
    """The connection of a context, the current one if ``context`` is None.

    ``source`` is a path, a kubeconfig document, or None for ``$KUBECONFIG`` and then
    ``~/.kube/config``.  Raises KubeconfigError naming file and key.
    """
    if isinstance(source, Mapping):
        merged: dict[str, Any] = {
            "clusters": {},
            "users": {},
            "contexts": {},
            "current-context": "",
        }
        _merge(merged, dict(source), Path("(document)"))
    else:
        merged = read(None if source is None else [Path(source)])
    return _connection(merged, context)


def _entry(
    merged: Mapping[str, Any], section: str, name: str, file: str, key: str
) -> tuple[dict[str, Any], str, str]:
    found: tuple[dict[str, Any], str, str] | None = merged[section].get(name)
    if found is None:
        known = ", ".join(merged[section]) or "none"
        raise KubeconfigError(
            file, key, f'no {section[:-1]} is called "{name}"; there are: {known}'
        )
    return found


def _connection(merged: Mapping[str, Any], context: str | None) -> Connection:
    name = context or merged["current-context"]
    files = [
        origin for section in ("contexts", "clusters") for _, origin, _ in merged[section].values()
    ]
    any_file = files[0] if files else "kubeconfig"
    if not name:
        raise KubeconfigError(any_file, "current-context", "is not set and no context was named")
    chosen, file, key = _entry(merged, "contexts", name, any_file, "current-context")
    cluster, cluster_file, cluster_key = _entry(
        merged, "clusters", str(chosen.get("cluster") or ""), file, f"{key}.cluster"
    )
    user: dict[str, Any] = {}
    user_file, user_key = file, key
    if chosen.get("user"):
        user, user_file, user_key = _entry(
            merged, "users", str(chosen["user"]), file, f"{key}.user"
        )
    server = cluster.get("server")
    if not isinstance(server, str) or not server.startswith(("http://", "https://")):
        raise KubeconfigError(cluster_file, f"{cluster_key}.server", "is not an http(s) URL")
    connection = Connection(
        server=server,
        ca=_data(cluster, "certificate-authority", cluster_file, cluster_key),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        tls_server_name=str(cluster.get("tls-server-name") or ""),
        proxy_url=str(cluster.get("proxy-url") or ""),
        client_certificate=_data(user, "client-certificate", user_file, user_key),
        client_key=_data(user, "client-key", user_file, user_key),
        token=str(user.get("token") or ""),
        token_file=str(user.get("tokenFile") or ""),
        username=str(user.get("username") or ""),
        password=str(user.get("password") or ""),
        impersonation=_impersonation(user),
        namespace=str(chosen.get("namespace") or "default"),
        origin=user_file,
    )
    if user.get("exec") or user.get("auth-provider"):
        connection.plugin = _plugin(connection, cluster, user, user_file, user_key)
    return connection


def _data(entry: Mapping[str, Any], name: str, file: str, key: str) -> bytes:
    """Inline data wins over a path, as upstream has it."""
    inline = entry.get(f"{name}-data")
    if inline:
        try:
            return base64.b64decode(inline, validate=False)
        except (binascii.Error, ValueError, TypeError) as e:
            raise KubeconfigError(file, f"{key}.{name}-data", "is not base64") from e
    path = entry.get(name)
    if not path:
        return b""
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise KubeconfigError(file, f"{key}.{name}", f"{path} cannot be read: {e.strerror}") from e


def _impersonation(user: Mapping[str, Any]) -> dict[str, str]:
    headers: dict[str, str] = {}
    if user.get("as"):
        headers["Impersonate-User"] = str(user["as"])
    if user.get("as-uid"):
        headers["Impersonate-Uid"] = str(user["as-uid"])
    groups = user.get("as-groups")
    if groups:
        headers["Impersonate-Group"] = ",".join(map(str, groups))
    return headers


def _plugin(
    connection: Connection,
    cluster: Mapping[str, Any],
    user: Mapping[str, Any],
    file: str,
    key: str,
) -> Callable[[], Awaitable[str]]:
    """An Authorization value from kubernetes-asyncio, asked anew when it may have expired."""
    method = "exec" if user.get("exec") else "auth-provider"
    cached: tuple[float, str] = (0.0, "")

    async def authorize() -> str:
        nonlocal cached
        until, value = cached
        if time.monotonic() < until:
            return value
        try:
            from kubernetes_asyncio import config as kubernetes_config
            from kubernetes_asyncio.client import Configuration
        except ImportError as e:
            raise KubeconfigError(
                file,
                f"{key}.{method}",
                "needs kubernetes-asyncio; install it with: pip install 'cove[auth]'",
            ) from e
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": dict(cluster)}],
            "users": [{"name": "c", "user": dict(user)}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        }
        configuration = Configuration()
        try:
            await kubernetes_config.load_kube_config_from_dict(
                document, client_configuration=configuration
            )
        except kubernetes_config.ConfigException as e:
            raise KubeconfigError(file, f"{key}.{method}", str(e)) from e
        if configuration.cert_file and configuration.key_file:
            _take_pair(connection, configuration.cert_file, configuration.key_file)
        value = str(configuration.api_key.get("BearerToken", ""))
        if value and " " not in value:
            value = f"Bearer {value}"
        cached = (time.monotonic() + TOKEN_AGE, value)
        return value

    return authorize


def _take_pair(connection: Connection, certificate: str, key: str) -> None:
    connection.client_certificate = Path(certificate).read_bytes()
    connection.client_key = Path(key).read_bytes()


def in_cluster(
    folder: Path = SERVICE_ACCOUNT, environ: Mapping[str, str] | None = None
) -> Connection:
    """The connection of a process that runs in a pod; KubeconfigError outside of one.

    Source: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
    """
    environ = os.environ if environ is None else environ
    host = environ.get("KUBERNETES_SERVICE_HOST", "")
    port = environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        raise KubeconfigError(
            str(folder),
            "",
            "not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set",
        )
    token, ca, namespace = folder / "token", folder / "ca.crt", folder / "namespace"
    if not token.exists():
        raise KubeconfigError(str(token), "", "not in a cluster: there is no such file")
    return Connection(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        ca=ca.read_bytes() if ca.exists() else b"",
        token_file=str(token),
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
        origin=str(folder),
    )
