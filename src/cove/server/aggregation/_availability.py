"""The condition Available of APIServices: whether their servers answer.

Looked at when an APIService, its Service or its endpoints change, every thirty seconds,
and sooner after a failure.  Without any extension server this waits for one.

Source: ``controllers/status/remote/remote_available_controller.go`` of kube-aggregator.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, NamedTuple, Self

import orjson

from cove.server.aggregation._discovery import resources_of
from cove.server.aggregation._proxy import DISCOVERY_TIMEOUT, caller, url_of
from cove.server.aggregation._remote import APISERVICES, Remote
from cove.server.outgoing import CallError, ResolveError
from cove.server.outgoing._services import SERVICE_NAME, SLICES
from cove.server.request import Request, User
from cove.server.store import Event, Watcher

if TYPE_CHECKING:
    from cove.server.api import Api

__all__ = ["Availability"]

log = logging.getLogger("cove.server.aggregation")

# Seconds of the cluster's clock.
RESYNC = 30.0
FIRST_RETRY = 0.25
ATTEMPTS = 5
AGGREGATOR = User("system:kube-aggregator", ("system:masters",))
_SELF = User("system:apiserver", ("system:masters", "system:authenticated"))
_FOLLOWED = (APISERVICES, "services", SLICES, "endpoints")


class _Verdict(NamedTuple):
    status: str
    reason: str
    message: str


class Availability:
    """Keeps the conditions of one cluster; entered it runs, left its task has ended."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._task: asyncio.Task[None] | None = None
        self._failures: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="availability of APIServices")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            watcher = Watcher()
            for resource in _FOLLOWED:
                self._api.store.subscribe(resource, watcher)
            try:
                await self._follow(watcher)
            finally:
                for resource in _FOLLOWED:
                    self._api.store.unsubscribe(resource, watcher)

    async def _follow(self, watcher: Watcher) -> None:
        """Until the watcher is closed: the store was restored, or is shut down."""
        clock = self._api.config.clock
        due: dict[str, float] = dict.fromkeys(self._names(), clock.monotonic())
        while not watcher.closed:
            now = clock.monotonic()
            names = [n for n, at in due.items() if at <= now]
            delays = await asyncio.gather(*map(self._checked, names)) if names else ()
            due.update(
                (n, clock.monotonic() + delay) for n, delay in zip(names, delays, strict=True)
            )
            wait = min(due.values(), default=None)
            timeout = None if wait is None else max(0.0, wait - clock.monotonic())
            if await watcher.wait(timeout, clock):
                known = self._names()
                due = {n: due.get(n, 0.0) for n in known}
                for event in watcher.drain():
                    due.update(dict.fromkeys(self._concerned(event), 0.0))

    def _names(self) -> list[str]:
        return [r.name for r in self._api.remotes.at(self._api).values()]

    def _concerned(self, event: Event) -> list[str]:
        """The APIServices that an event may say something about."""
        obj = event.object
        remotes = self._api.remotes.at(self._api).values()
        if event.resource == APISERVICES:
            before = event.previous
            if before is not None and _spec(before.data) == _spec(obj.data):
                return []
            return [r.name for r in remotes if r.name == obj.name]
        name = obj.name
        if event.resource == SLICES:
            name = (obj.labels or {}).get(SERVICE_NAME, "")
        return [r.name for r in remotes if r.service[:2] == (obj.namespace, name)]

    async def _checked(self, name: str) -> float:
        try:
            return await self._check(name)
        except Exception:
            # The owner's boundary: one that cannot be looked at does not keep others from it.
            log.exception("APIService %s cannot be looked at", name)
            return RESYNC

    async def _check(self, name: str) -> float:
        """Look at one, and say so; the seconds until it is to be looked at again."""
        remote = next((r for r in self._api.remotes.at(self._api).values() if r.name == name), None)
        if remote is None:
            return RESYNC
        verdict = self._by_the_store(remote)
        failed = False
        if verdict is None:
            verdict = await self._by_asking(remote)
            failed = verdict.status != "True"
        await self._tell(remote, verdict)
        if not failed:
            self._failures.pop(name, None)
            return RESYNC
        count = self._failures[name] = self._failures.get(name, 0) + 1
        return min(RESYNC, FIRST_RETRY * 2.0 ** min(count, 10))

    def _by_the_store(self, remote: Remote) -> _Verdict | None:
        """What is wrong with the service, None if nothing is."""
        state, service = self._api.store.state, remote.service
        what = f'service/{service.name} in "{service.namespace}"'
        stored = state.get("services", service.namespace, service.name)
        if stored is None:
            return _Verdict("False", "ServiceNotFound", f"{what} is not present")
        spec = orjson.loads(stored.data).get("spec") or {}
        if spec.get("type", "ClusterIP") != "ClusterIP":
            return None
        port = next((p for p in spec.get("ports") or () if p.get("port") == service.port), None)
        if port is None:
            why = f"{what} is not listening on port {service.port}"
            return _Verdict("False", "ServicePortError", why)
        try:
            self._api.outgoing.resolve(self._api, service)
        except ResolveError:
            why = (
                f"endpointslices for {what} have no addresses with port name "
                f'"{port.get("name") or ""}"'
            )
            if not any(
                (s.labels or {}).get(SERVICE_NAME) == service.name
                for s in state.list(SLICES, service.namespace)
            ):
                why = f"cannot find endpointslices for {what}"
                return _Verdict("False", "EndpointsNotFound", why)
            return _Verdict("False", "MissingEndpoints", why)
        return None

    async def _by_asking(self, remote: Remote) -> _Verdict:
        """What its discovery says."""
        why = ""
        for _ in range(ATTEMPTS):
            try:
                url = url_of(self._api, remote, remote.path)
            except ResolveError as error:
                return _Verdict("False", "FailedDiscoveryCheck", str(error))
            try:
                async with asyncio.timeout(DISCOVERY_TIMEOUT):
                    body = await self._get(remote, url)
                remote.known.resources = resources_of(remote, orjson.loads(body or b"null"))
                remote.known.openapi = await self._openapi(remote)
                return _Verdict("True", "Passed", "all checks passed")
            except TimeoutError:
                why = f"failing or missing response from {url}: context deadline exceeded"
                break
            except CallError as error:
                why = f"failing or missing response from {url}: {error}"
            except ValueError:
                # It answers; what it serves is its own business.
                return _Verdict("True", "Passed", "all checks passed")
        return _Verdict("False", "FailedDiscoveryCheck", why)

    async def _get(self, remote: Remote, url: str) -> bytes:
        outgoing = self._api.outgoing
        try:
            response = await outgoing.open(
                "GET", url, headers=caller(AGGREGATOR), trust=remote.trust(outgoing.identity)
            )
        except CallError as error:
            raise CallError(f'Get "{url}": {error}') from error
        async with response:
            if not 200 <= response.status < 300:
                raise CallError(f"bad status from {url}: {response.status}")
            return await response.read()

    async def _openapi(self, remote: Remote) -> str:
        """Where its OpenAPI document is, "" if it has none."""
        path = remote.path.lstrip("/")
        try:
            async with asyncio.timeout(DISCOVERY_TIMEOUT):
                body = await self._get(remote, url_of(self._api, remote, "/openapi/v3"))
            return str(orjson.loads(body)["paths"][path]["serverRelativeURL"])
        except (CallError, ResolveError, TimeoutError, ValueError, KeyError, TypeError):
            return ""

    async def _tell(self, remote: Remote, verdict: _Verdict) -> None:
        """Write the condition if it says something new; a lost race is looked at again."""
        api = self._api
        endpoint = api.registry.builtin("apiregistration.k8s.io", "v1", "apiservices")
        assert endpoint is not None
        obj = endpoint.load(remote.stored.data)
        status = dict(obj.get("status") or {})
        conditions = list(status.get("conditions") or ())
        old = next((c for c in conditions if c.get("type") == "Available"), None)
        told = {"type": "Available", **verdict._asdict()}
        if old is not None and all(old.get(k) == v for k, v in told.items()):
            return
        since = api.timestamp()
        if old is not None and old.get("status") == verdict.status:
            since = old.get("lastTransitionTime") or since
        new = {**told, "lastTransitionTime": since}
        kept = [new if c is old else c for c in conditions]
        obj["status"] = {**status, "conditions": kept if old is not None else [*kept, new]}
        path = f"/apis/apiregistration.k8s.io/v1/apiservices/{remote.name}/status"
        headers = {"Content-Type": "application/json", "User-Agent": "kube-apiserver"}
        response = await api.handle(
            Request("PUT", path, headers=headers, body=orjson.dumps(obj), user=_SELF)
        )
        if response.status >= 400 and response.status not in (404, 409):
            log.warning("APIService %s: %s", remote.name, response.body.decode(errors="replace"))


def _spec(data: bytes) -> object:
    return orjson.loads(data).get("spec")
