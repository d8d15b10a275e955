"""Claim: one Lease, and whether it is ours.

A holder writes into the Lease again and again.  Others never compare its times with their own
clock: what counts is when they themselves saw it change last, so clocks may differ.  A holder
counts from when it *sent* the last write that was answered; it is out of office ``renew``
seconds later, others are in ``lease`` seconds later at the earliest, and in between its work
ends.  Writes carry the resource version that was read: of two that try, one succeeds.

Source: https://pkg.go.dev/k8s.io/client-go/tools/leaderelection
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

from cove.client import Client, ClientError, Clock, deadline
from cove.client.clock import Timer
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.kube.times import format_micro_time
from cove.operator.runtime.stores import is_newer
from cove.operator.settings import Leadership

__all__ = ["LEASES", "Claim"]

log = logging.getLogger("cove.operator")

LEASES = GVR("coordination.k8s.io", "v1", "leases")
# Additions of floats: a lease that ends "now" has ended.
ROUNDING = 1e-6

Doc = dict[str, Any]


class Claim:
    """A Lease that ``identity`` wants to hold.

    ``held`` is exact at any time of the clock; ``lost`` is called when it was held and is no
    more, other than by :meth:`release`.  It has no tasks: who owns it calls :meth:`attempt`
    every ``times.retry`` seconds, and tells what a watch says.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        namespace: str,
        identity: str,
        times: Leadership,
        clock: Clock,
        *,
        labels: Mapping[str, str] | None = None,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.identity = identity
        self.held = False
        # The document as last read or written, None if there may be a newer one.
        self.doc: Doc | None = None
        self.lost = lost
        self._client = client
        self._times = times
        self._clock = clock
        self._labels = dict(labels or {})
        self._spec: Doc = {}
        self._seen = 0.0
        self._sent = 0.0
        self._timer: Timer | None = None
        # Whether the Lease may name us: a write may be done although it was not answered.
        self._named = False
        self._one = asyncio.Lock()

    @property
    def holder(self) -> str:
        """Who holds it, as far as is known; "" nobody."""
        return str(self._spec.get("holderIdentity") or "")

    @property
    def expires(self) -> float:
        """Seconds until somebody else's hold on it ends, unless it is renewed."""
        if not self.holder:
            return 0.0
        duration = float(self._spec.get("leaseDurationSeconds") or 0)
        return max(self._seen + duration - self._clock.monotonic(), 0.0)

    @property
    def available(self) -> bool:
        """Whether it may be taken."""
        return self.holder in ("", self.identity) or self.expires <= ROUNDING

    @property
    def until_taken(self) -> float:
        """Seconds until somebody else may hold it who could not know that we still work."""
        return max(self._sent + self._times.lease - self._clock.monotonic(), 0.0)

    # -- what is seen of it

    def told(self, doc: Doc | None) -> None:
        """A watch tells of it; None: it is gone."""
        if doc is None:
            return
        if self.held:
            if self.doc is None or not is_newer(_version(doc), _version(self.doc)):
                return
            self._see(doc)
            if self.holder != self.identity:
                self._lose(f"{self.holder or 'nobody'} holds it now")
        else:
            self._see(doc)

    def _see(self, doc: Doc) -> None:
        """Note when it changed, by our own clock.

        One that was deleted is kept in mind: its holder may not know yet.
        """
        spec = doc.get("spec") or {}
        if spec != self._spec:
            self._spec, self._seen = spec, self._clock.monotonic()

    # -- taking and renewing

    async def attempt(self, *, renew: bool = False) -> bool:
        """Take it if it is free, renew it if it is ours; whether it is ours now.

        ``renew`` takes none that is not ours any more.  Raises nothing: what failed is logged, and tried again by the caller.
        """
        try:
            async with deadline(self._clock, self._times.renew / 2), self._one:
                return await self._attempt() if self.held or not renew else False
        except TimeoutError:
            log.warning("lease %s: no answer within %g s", self.name, self._times.renew / 2)
        except (StatusError, ClientError) as e:
            log.warning("lease %s: %s", self.name, e)
        self.doc = None
        return False

    async def _attempt(self) -> bool:
        renewing = self.held
        for _ in range(2):
            if renewing and not self.held:
                return False
            doc = self.doc if self.held else None
            if doc is None:
                doc = await self._read()
            if not self.available:
                if self.held:
                    self._lose(f"{self.holder} holds it now")
                return False
            sent = self._clock.monotonic()
            try:
                answer = await self._write(doc)
            except StatusError as e:
                self.doc = None
                if e.code in (404, 409):
                    continue
                raise
            self.doc = answer
            self._see(answer)
            return self._extend(sent, renewing)
        return False

    async def _read(self) -> Doc | None:
        try:
            doc = await self._client.get(LEASES, self.name, self.namespace)
        except StatusError as e:
            if e.code != 404:
                raise
            return None
        self._see(doc)
        return doc

    async def _write(self, doc: Doc | None) -> Doc:
        now = format_micro_time(self._clock.now())
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": math.ceil(self._times.lease),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": 0,
        }
        self._named = True
        if doc is None:
            metadata = {"name": self.name, "namespace": self.namespace, "labels": self._labels}
            return await self._client.create(
                LEASES,
                {
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": metadata,
                    "spec": spec,
                },
                self.namespace,
            )
        was = doc.get("spec") or {}
        transitions = int(was.get("leaseTransitions") or 0)
        if was.get("holderIdentity") == self.identity:
            spec["acquireTime"] = was.get("acquireTime") or now
            spec["leaseTransitions"] = transitions
        else:
            spec["leaseTransitions"] = transitions + 1
        return await self._client.update(LEASES, {**doc, "spec": {**was, **spec}}, self.namespace)

    def _extend(self, sent: float, renewing: bool) -> bool:
        if renewing and not self.held:
            return False  # it was given up while the answer was on its way
        left = sent + self._times.renew - self._clock.monotonic()
        if left <= 0:
            return False
        self._sent = sent
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_later(left, self._overdue)
        self.held = True
        return True

    def _overdue(self) -> None:
        self._lose(f"it could not be renewed for {self._times.renew:g} s")

    def _lose(self, why: str) -> None:
        self._drop()
        log.warning("lease %s is lost: %s", self.name, why)
        self.lost()

    def _drop(self) -> None:
        self.held = False
        self.doc = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- giving it back

    async def release(self) -> None:
        """Let the others know that it is free, if it is ours.  Raises StatusError, ClientError."""
        async with self._one:
            await self._release()

    async def _release(self) -> None:
        doc = self.doc
        self._drop()
        if not self._named:
            return
        for _ in range(3):
            doc = doc or await self._read()
            spec = (doc or {}).get("spec") or {}
            if doc is None or spec.get("holderIdentity") != self.identity:
                self._named = False
                return
            now = format_micro_time(self._clock.now())
            # Without a holder: an empty name is refused by servers.
            kept = {k: v for k, v in spec.items() if k != "holderIdentity"}
            times = {"leaseDurationSeconds": 1, "renewTime": now, "acquireTime": now}
            try:
                answer = await self._client.update(
                    LEASES, {**doc, "spec": {**kept, **times}}, self.namespace
                )
            except StatusError as e:
                if e.code not in (404, 409):
                    raise
                doc = None
            else:
                self._see(answer)
                self._named = False
                return


def _version(doc: Doc) -> str:
    return str(doc["metadata"]["resourceVersion"])
