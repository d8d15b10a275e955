"""APIServices with a service, as they are in the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from cove.kube.catalogue import Resource
from cove.kube.gvk import version_priority
from cove.server.outgoing import Trust
from cove.server.outgoing._target import Service, bundle

if TYPE_CHECKING:
    from cove.pki import Pair
    from cove.server.api import Api
    from cove.server.store import Stored

__all__ = ["APISERVICES", "Known", "Remote", "Remotes"]

APISERVICES = "apiservices.apiregistration.k8s.io"


class Known:
    """What an extension server was last seen to serve."""

    __slots__ = ("openapi", "resources")

    def __init__(self) -> None:
        self.resources: tuple[Resource, ...] = ()
        # Its own address of its OpenAPI document, "" if it has none.
        self.openapi = ""


class Remote:
    """A group and version that another server serves."""

    def __init__(self, stored: Stored, doc: Mapping[str, Any], known: Known) -> None:
        spec = doc["spec"]
        reference = spec["service"]
        self.stored = stored
        self.name = stored.name
        self.group: str = spec.get("group") or ""
        self.version: str = spec.get("version") or ""
        self.service = Service(
            reference["namespace"], reference["name"], int(reference.get("port") or 443)
        )
        self.insecure: bool = bool(spec.get("insecureSkipTLSVerify"))
        self.authority = bundle(spec.get("caBundle"))
        self.group_priority: int = spec.get("groupPriorityMinimum") or 0
        self.version_priority: int = spec.get("versionPriority") or 0
        self.known = known
        conditions = (doc.get("status") or {}).get("conditions") or ()
        self.available = any(
            c.get("type") == "Available" and c.get("status") == "True" for c in conditions
        )

    @property
    def path(self) -> str:
        """Below which everything is its own: ``/apis/GROUP/VERSION``."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def order(self) -> tuple[int, Any]:
        """Its place among the versions of its group."""
        return -self.version_priority, version_priority(self.version)

    def trust(self, client: Pair | None) -> Trust:
        """How it is verified, and who calls."""
        return Trust(self.authority, self.service.host, self.insecure, client)


class Remotes:
    """The remote APIServices of one cluster; kept while the stored ones are the same."""

    def __init__(self) -> None:
        self._bucket: Any = None
        self._by_path: dict[tuple[str, str], Remote] = {}

    def at(self, api: Api) -> Mapping[tuple[str, str], Remote]:
        """(group, version) → who serves it."""
        bucket = api.store.state.root.get(APISERVICES)
        if bucket is not self._bucket:
            before = {r.name: r for r in self._by_path.values()}
            self._by_path = {}
            for stored in bucket.get("", {}).values() if bucket is not None else ():
                if b'"service":{' not in stored.data:
                    continue
                doc = orjson.loads(stored.data)
                if not doc["spec"].get("service"):
                    continue
                old = before.get(stored.name)
                if old is None or old.stored is not stored:
                    old = Remote(stored, doc, old.known if old is not None else Known())
                self._by_path[old.group, old.version] = old
            self._bucket = bucket
        return self._by_path

    def find(self, api: Api, path: str) -> Remote | None:
        """Who serves a path, None if this server does."""
        found = self.at(api)
        if not found:
            return None
        parts = path.split("/", 4)
        if len(parts) > 3 and parts[1] == "apis":
            return found.get((parts[2], parts[3]))
        if len(parts) > 2 and parts[1] == "api":
            return found.get(("", parts[2]))
        return None
