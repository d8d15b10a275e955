"""NodeAgent: what kubelets do towards the API server, for any number of nodes at once.

One informer, one queue, a few workers and one heartbeat serve all nodes: a thousand
simulated nodes cost no more tasks than one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Self

from cove.client import (
    Client,
    Clock,
    Informers,
    QueueClosed,
    Recorder,
    SystemClock,
    Tasks,
    UnreachableError,
    WorkQueue,
)
from cove.client.meta import key_of
from cove.client.recorder import reference
from cove.kube.gvk import GVR
from cove.kube.status import CoveError, StatusError
from cove.kube.times import format_micro_time, format_time
from cove.node._status import ended, pod_status
from cove.node.addresses import Addresses
from cove.node.driver import Driver, PodState
from cove.node.nodes import MESSAGE, NodeSpec, lease, node_object, node_status

__all__ = ["NodeAgent"]

log = logging.getLogger("cove.node")

Doc = dict[str, Any]

PODS = GVR("", "v1", "pods")
NODES = GVR("", "v1", "nodes")
LEASES = GVR("coordination.k8s.io", "v1", "leases")

WORKERS = 16
# A kubelet's lease lasts 40 s and is renewed four times in that time.  Many nodes in one
# process are all there or all gone: together they renew some ten leases a second.
LEASE_SECONDS = 40
RENEWALS_PER_SECOND = 10


class _Pod:
    """A pod on one of the nodes."""

    __slots__ = ("address", "grace", "pod", "started", "states", "stopped", "stopping", "written")

    def __init__(self, pod: Doc) -> None:
        self.pod = pod
        self.address = ""
        self.started = False
        self.stopping = False
        self.grace = 0.0
        self.stopped = False
        self.states: PodState | None = None
        # The state that the server knows.
        self.written: PodState | None = None


class NodeAgent:
    """Runs nodes: ``async with NodeAgent(client, driver, nodes, pod_subnet) as agent``.

    Entering returns when the nodes are registered; leaving stops the driver and leaves
    objects as they are.  The driver is the agent's from then on.
    """

    def __init__(
        self,
        client: Client,
        driver: Driver,
        nodes: Sequence[NodeSpec],
        pod_subnet: IPv4Network | IPv6Network,
        *,
        informers: Informers | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.nodes = {n.name: n for n in nodes}
        self.driver = driver
        self._client = client.named("kubelet")
        self._informers = informers
        self._clock = clock or SystemClock()
        self._addresses = Addresses(pod_subnet)
        self._pods: dict[str, _Pod] = {}
        self._keys: dict[str, str] = {}
        self._queue: WorkQueue[str] = WorkQueue(clock=self._clock)
        self._stack = AsyncExitStack()
        self._tasks = Tasks()
        self._stops = 0
        self._leases: dict[str, Doc] = {}
        self._recorder = Recorder(self._client, "kubelet", clock=self._clock)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.driver.close)
            tasks = self._tasks = await stack.enter_async_context(Tasks())
            stack.callback(self._queue.close)
            await stack.enter_async_context(self._recorder)
            informers = self._informers
            if informers is None:
                informers = await stack.enter_async_context(
                    Informers(self._client, clock=self._clock)
                )
            await self._register()
            pods = informers.informer(PODS)
            pods.add_handler(self._changed)
            stack.callback(pods.remove_handler, self._changed)
            for index in range(WORKERS):
                tasks.start(f"node agent {index}", self._work())
            tasks.start("node leases", self._heartbeat())
            await pods.synced.wait()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    @property
    def quiet(self) -> bool:
        """Whether no pod waits for a look or is in work, and no event waits to be written."""
        return self._queue.idle and self._recorder.quiet and not self._stops

    def reserve(self, address: str) -> None:
        """Give an address to no pod."""
        self._addresses.reserve(address)

    def set_health(self, why: str) -> None:
        """The container runtime is gone (``why``), or back (""): the nodes say so."""
        self._tasks.start("health of the nodes", self._tell_health(why))

    async def _tell_health(self, why: str) -> None:
        now = format_time(self._clock.now())
        ready: Doc = {
            "type": "Ready",
            "status": "False" if why else "True",
            "reason": "KubeletNotReady" if why else "KubeletReady",
            "message": f"container runtime is down: {why}"
            if why
            else "kubelet is posting ready status",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        for name in self.nodes:
            try:
                await self._client.patch(
                    NODES,
                    name,
                    {"status": {"conditions": [ready]}},
                    type="strategic",
                    subresource="status",
                )
            except (StatusError, UnreachableError) as e:
                log.info("the health of node %s was not told: %s", name, e)

    # -- nodes

    async def _register(self) -> None:
        names = iter(self.nodes.values())

        async def some() -> None:
            for spec in names:
                await self._register_one(spec)

        await asyncio.gather(*(some() for _ in range(8)))

    async def _register_one(self, spec: NodeSpec) -> None:
        now = format_time(self._clock.now())
        doc = node_object(spec, self.driver.runtime, now)
        try:
            node = await self._client.create(NODES, doc)
        except StatusError as e:
            if e.reason != "AlreadyExists":
                raise
            # A node of an earlier run: it is back, with what it has now.
            node = await self._client.patch(
                NODES,
                spec.name,
                {"status": node_status(spec, self.driver.runtime, now)},
                type="strategic",
                subresource="status",
            )
        self._leases[spec.name] = lease(node, self._lease_seconds(), "")
        if self.driver.runtime.simulated and len(self.nodes) <= 100:
            self._recorder.event(
                {"kind": "Node", "name": spec.name, "uid": spec.name},
                "Warning",
                "Simulated",
                MESSAGE,
            )

    def _interval(self) -> float:
        return max(LEASE_SECONDS / 4, len(self.nodes) / RENEWALS_PER_SECOND)

    def _lease_seconds(self) -> int:
        return int(self._interval() * 4)

    async def _heartbeat(self) -> None:
        """Renew the leases, one after the other over the interval."""
        first = True
        if not self._leases:
            return
        pause = self._interval() / len(self._leases)
        while True:
            batch = max(1, int(0.1 / pause)) if pause < 0.1 else 1
            for index, (name, doc) in enumerate(tuple(self._leases.items())):
                try:
                    await self._renew(name, doc)
                except (StatusError, UnreachableError) as e:
                    log.info("the lease of node %s was not renewed: %s", name, e)
                if not first and index % batch == 0:
                    await self._clock.sleep(pause * batch)
                elif first and index % 16 == 15:
                    # The first time they are wanted soon, but not before everything else.
                    await self._clock.sleep(0.005)
            if first:
                await self._clock.sleep(self._interval())
            first = False

    async def _renew(self, name: str, doc: Doc) -> None:
        doc["spec"]["renewTime"] = format_micro_time(self._clock.now())
        try:
            if "resourceVersion" in doc["metadata"]:
                self._leases[name] = await self._client.update(LEASES, doc)
            else:
                self._leases[name] = await self._client.create(LEASES, doc)
        except StatusError as e:
            if e.code == 409:
                fresh = await self._client.get(LEASES, name, "kube-node-lease")
                fresh["spec"] = {**fresh.get("spec", {}), **doc["spec"]}
                self._leases[name] = await self._client.update(LEASES, fresh)
            elif e.code == 404:
                doc["metadata"].pop("resourceVersion", None)
                doc["metadata"].pop("uid", None)
            else:
                raise

    # -- pods

    def _changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        pod = new or old
        assert pod is not None
        name = pod["spec"].get("nodeName")
        if not name or name not in self.nodes:
            return
        uid = pod["metadata"]["uid"]
        entry = self._pods.get(uid)
        if new is None:
            if entry is not None:
                self._keys.pop(uid, None)
                self._queue.add(uid)
            return
        if entry is None:
            entry = self._pods[uid] = _Pod(new)
            self._keys[uid] = key_of(new)
            address = new.get("status", {}).get("podIP")
            if address and not new["spec"].get("hostNetwork"):
                entry.address = address
                self._addresses.reserve(address)
            self._queue.add(uid)
            return
        before = entry.pod
        entry.pod = new
        if entry.started:
            self.driver.update(new)
        if "deletionTimestamp" in new["metadata"]:
            self._queue.add(uid)
        elif new["spec"].get("readinessGates") or before["metadata"].get("generation") != new[
            "metadata"
        ].get("generation"):
            entry.written = None
            self._queue.add(uid)

    async def _work(self) -> None:
        queue = self._queue
        while True:
            try:
                uid = await queue.get()
            except QueueClosed:
                return
            try:
                await self._sync(uid)
            except (StatusError, UnreachableError) as e:
                log.log(
                    logging.DEBUG if isinstance(e, StatusError) else logging.INFO,
                    "pod %s: %s",
                    self._keys.get(uid, uid),
                    e,
                )
                queue.add_rate_limited(uid)
            except Exception:
                log.exception("pod %s failed", self._keys.get(uid, uid))
                queue.add_rate_limited(uid)
            else:
                queue.forget(uid)
            finally:
                queue.done(uid)
            # Calls within the process never wait: others get their turn here.
            await asyncio.sleep(0)

    async def _sync(self, uid: str) -> None:
        entry = self._pods.get(uid)
        if entry is None:
            return
        if uid not in self._keys:
            await self._gone(uid, entry)
            return
        pod = entry.pod
        if "deletionTimestamp" in pod["metadata"]:
            await self._terminate(uid, entry)
            return
        if ended(pod.get("status", {})):
            return
        if not entry.started:
            if not entry.address:
                entry.address = self._addresses.take()
            entry.started = True
            await self.driver.start(pod, entry.address, lambda s: self._report(uid, s))
        if entry.states is not None and entry.states is not entry.written:
            await self._write(entry)

    def _report(self, uid: str, states: PodState) -> None:
        entry = self._pods.get(uid)
        if entry is not None and entry.states != states:
            entry.states = states
            self._queue.add(uid)

    async def _write(self, entry: _Pod) -> None:
        pod, states = entry.pod, entry.states
        assert states is not None
        metadata = pod["metadata"]
        host = self.nodes[pod["spec"]["nodeName"]].address
        now = format_time(self._clock.now())
        status = pod_status(pod, states, entry.address, host, now)
        patch: Doc = {"metadata": {"uid": metadata["uid"]}, "status": status}
        entry.written = states
        try:
            entry.pod = await self._client.patch(
                PODS,
                metadata["name"],
                patch,
                metadata["namespace"],
                type="strategic",
                subresource="status",
            )
        except BaseException as e:
            entry.written = None
            if isinstance(e, StatusError) and e.code in (404, 409):
                return
            raise

    async def _terminate(self, uid: str, entry: _Pod) -> None:
        """Stop the containers, then take the object away: it has waited for that."""
        pod = entry.pod
        metadata = pod["metadata"]
        grace = float(metadata.get("deletionGracePeriodSeconds") or 0)
        if not entry.stopping:
            self._recorder.event(reference(pod, "v1", "Pod"), "Normal", "Killing", _killing(pod))
        if not entry.stopped:
            self._stop(uid, entry, grace)
            if not entry.stopped:
                await self._told(entry)
                return
        await self._told(entry)
        if metadata.get("finalizers") and metadata.get("deletionGracePeriodSeconds") == 0:
            return  # whoever holds it has to let go
        try:
            await self._client.delete(
                PODS, metadata["name"], metadata["namespace"], grace=0, uid=uid
            )
        except StatusError as e:
            if e.code not in (404, 409):
                raise

    async def _told(self, entry: _Pod) -> None:
        """See to it that the server knows what the driver has reported."""
        if entry.states is not None and entry.states is not entry.written:
            await self._write(entry)

    def _stop(self, uid: str, entry: _Pod, grace: float) -> None:
        """Have the driver end the pod, in a task of its own: grace takes its time.

        Once it has been asked it is asked again only to be quicker.
        """
        if entry.stopping and grace >= entry.grace:
            return
        entry.stopping, entry.grace = True, grace
        self._stops += 1
        self._tasks.start(f"end of pod {self._keys.get(uid, uid)}", self._end(uid, entry, grace))

    async def _end(self, uid: str, entry: _Pod, grace: float) -> None:
        try:
            await self.driver.stop(entry.pod, grace)
            entry.stopped = True
        except CoveError as e:
            log.warning("pod %s could not be ended: %s", self._keys.get(uid, uid), e)
            entry.stopping = False
        finally:
            self._stops -= 1
            if entry.stopped:
                self._queue.add(uid)
            else:
                self._queue.add_rate_limited(uid)

    async def _gone(self, uid: str, entry: _Pod) -> None:
        if not entry.stopped:
            self._stop(uid, entry, 0.0)
            if not entry.stopped:
                return
        self._pods.pop(uid, None)
        if entry.address:
            self._addresses.free(entry.address)


def _killing(pod: Doc) -> str:
    names = [c["name"] for c in pod["spec"]["containers"]]
    return f"Stopping container {names[0]}" if len(names) == 1 else "Stopping containers"
