"""Shards: an operator's objects shared out among its replicas, each shard a Lease.

Every replica is a member: it keeps a Lease of its own, found by its label.  So all know how
many there are, and each takes and gives back shards until it has its fair number.  An object
belongs to the shard that its key falls into; a controller works on the keys of shards that its
replica holds.  A shard is given back once nothing of it is being worked on, so no object is
worked on by two; who gets one looks at all of its objects.

::

    async with Shards(client, "cache-operator", "caches", count=8) as shards:
        await run_sharded(lambda: op.runtime(client), shards)
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from typing import Any, Self
from zlib import crc32

from cove.client import Client, ClientError, Clock, Informer, SystemClock, Tasks, deadline
from cove.kube.status import StatusError
from cove.operator.errors import EntityError
from cove.operator.leadership.elector import GOODBYE, new_identity
from cove.operator.leadership.lease import LEASES, Claim
from cove.operator.runtime.runtime import Runtime
from cove.operator.settings import Leadership

__all__ = ["Shards", "run_sharded", "shard_of"]

log = logging.getLogger("cove.operator")

# Whose Lease it is, what it is one of, and into how many shards its maker divides.
OPERATOR = "cove.dev/operator"
ROLE = "cove.dev/lease"
COUNT = "cove.dev/shards"

Doc = dict[str, Any]


def shard_of(key: str, count: int) -> int:
    """The shard of a key (``namespace/name`` or ``name``), from 0; the same everywhere."""
    return crc32(key.encode()) % count


class _Member:
    """Another replica: when we saw a sign of its life last, by our own clock."""

    def __init__(self, doc: Doc, seen: float) -> None:
        self.doc = doc
        self.seen = seen

    def alive(self, now: float) -> bool:
        spec = self.doc.get("spec") or {}
        lasts = float(spec.get("leaseDurationSeconds") or 0)
        return bool(spec.get("holderIdentity")) and now < self.seen + lasts


class Shards:
    """The shards of one replica; entered it belongs to nobody yet, :meth:`work` joins.

    ``count`` is the same for all replicas; those that divide otherwise than the oldest get
    nothing until that is gone.  ``namespace`` "" is the client's own.  The client is the
    caller's.  Left, what it held is free.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        namespace: str = "",
        count: int = 2,
        identity: str = "",
        leadership: Leadership | None = None,
        clock: Clock | None = None,
    ) -> None:
        if count < 1:
            raise EntityError(f"shards is {count}: there is at least one")
        self.times = leadership or Leadership()
        self.name = self.times.name or name
        self.namespace = self.times.namespace or namespace or client.namespace
        self.count = count
        self.identity = identity or new_identity()
        self._client = client
        self._clock = clock or SystemClock()
        labels = {OPERATOR: self.name, COUNT: str(count)}
        own = hashlib.blake2b(self.identity.encode(), digest_size=6).hexdigest()
        self._self = Claim(
            client, f"{self.name}-member-{own}", self.namespace, self.identity, self.times,
            self._clock, labels={**labels, ROLE: "member"},
        )  # fmt: skip
        self._claims = [
            Claim(
                client, f"{self.name}-shard-{n}", self.namespace, self.identity, self.times,
                self._clock, labels={**labels, ROLE: "shard"}, lost=self._losing(n),
            )
            for n in range(count)
        ]  # fmt: skip
        self._named = {claim.name: claim for claim in self._claims}
        self._mine: set[int] = set()
        self._leaving: set[int] = set()
        self._members: dict[str, _Member] = {}
        self._runtime: Runtime | None = None
        self._tasks = Tasks()
        self._wake = asyncio.Event()
        self._due = 0.0

    @property
    def held(self) -> frozenset[int]:
        """The shards whose objects this replica works on."""
        return frozenset(self._mine)

    @property
    def members(self) -> list[str]:
        """The identities of all replicas that are alive, sorted."""
        now = self._clock.monotonic()
        alive = {
            str(m.doc["spec"]["holderIdentity"]) for m in self._members.values() if m.alive(now)
        }
        return sorted(alive | {self.identity})

    def mine(self, key: str) -> bool:
        """Whether an object is this replica's to work on."""
        return crc32(key.encode()) % self.count in self._mine

    # -- its life

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._tasks.close()
        await self._leave()

    async def work(self, runtime: Runtime) -> None:
        """Join, and have the runtime work on the objects of what is held, until cancelled.

        What runs then is finished before its shard is free.
        """
        self._runtime = runtime
        runtime.mine = self.mine
        runtime.memory = 2 * self.times.lease
        try:
            self._tasks.start(f"shards of {self.name}", self._run())
            await runtime.work()
        finally:
            await self._tasks.close()
            await self._leave()

    async def _leave(self) -> None:
        self._mine.clear()
        self._leaving.clear()
        try:
            async with asyncio.timeout(GOODBYE):
                await asyncio.gather(*(claim.release() for claim in self._claims))
                if self._self.held:
                    await self._self.release()
                    await self._client.delete(LEASES, self._self.name, self.namespace)
        except (TimeoutError, StatusError, ClientError) as e:
            # Others may have buried us already.
            if not (isinstance(e, StatusError) and e.code == 404):
                log.warning("shards of %s were not given back: %r", self.name, e)

    async def _run(self) -> None:
        # Who joins sees all who joined before, and so knows whether to divide as they do.
        while not await self._self.attempt():
            await self._clock.sleep(self.times.retry)
        informer = Informer(
            self._client,
            LEASES,
            namespace=self.namespace,
            label_selector=f"{OPERATOR}={self.name}",
            clock=self._clock,
        )
        informer.add_handler(self._told)
        async with informer:
            await informer.synced.wait()
            while True:
                self._wake.clear()
                await self._renew()
                await self._balance()
                await self._woken()

    async def _woken(self) -> None:
        try:
            async with deadline(self._clock, max(self._due - self._clock.monotonic(), 0.0)):
                await self._wake.wait()
        except TimeoutError:
            pass

    # -- who is there

    def _told(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        doc = new if new is not None else old
        assert doc is not None
        name = doc["metadata"]["name"]
        claim = self._named.get(name)
        if claim is not None:
            claim.told(new)
            if new is None or (claim.available and not claim.held):
                self._wake.set()
        elif doc["metadata"].get("labels", {}).get(ROLE) == "member":
            self._told_of_member(name, new)

    def _told_of_member(self, name: str, new: Doc | None) -> None:
        known = self._members.pop(name, None)
        if new is None:
            self._wake.set()
            return
        self._members[name] = _Member(new, self._clock.monotonic())
        if known is None or not known.alive(self._clock.monotonic()):
            self._wake.set()

    def _agreed(self) -> bool:
        """Whether this replica divides as the oldest that is alive does."""
        now = self._clock.monotonic()
        alive = [
            m.doc
            for m in self._members.values()
            if m.alive(now) or m.doc["metadata"]["name"] == self._self.name
        ]
        if not alive:
            return True
        oldest = min(
            alive, key=lambda d: (d["metadata"]["creationTimestamp"], d["metadata"]["name"])
        )
        return bool(oldest["metadata"]["labels"].get(COUNT) == str(self.count))

    @property
    def quota(self) -> int:
        """How many shards are this replica's share."""
        if not self._agreed():
            return 0
        members = self.members
        share, rest = divmod(self.count, len(members))
        return share + (members.index(self.identity) < rest)

    # -- taking and giving

    async def _renew(self) -> None:
        if self._clock.monotonic() < self._due:
            return
        self._due = self._clock.monotonic() + self.times.retry
        held = [claim.attempt(renew=True) for claim in self._claims if claim.held]
        await asyncio.gather(self._self.attempt(), *held)
        await self._bury()

    async def _bury(self) -> None:
        """Delete the Leases of members that have died."""
        now = self._clock.monotonic()
        for member in [m for m in self._members.values() if not m.alive(now)]:
            metadata = member.doc["metadata"]
            if metadata["name"] == self._self.name:
                continue
            try:
                async with deadline(self._clock, self.times.retry):
                    await self._client.delete(
                        LEASES,
                        metadata["name"],
                        self.namespace,
                        uid=metadata["uid"],
                        resource_version=metadata["resourceVersion"],
                    )
            except (TimeoutError, StatusError, ClientError) as e:
                log.debug("lease %s: %s", metadata["name"], e)

    async def _balance(self) -> None:
        runtime = self._runtime
        if runtime is None or runtime.stopping.is_set():
            return
        quota = self.quota
        for n in sorted(self._mine, reverse=True)[: max(len(self._mine) - quota, 0)]:
            self._mine.discard(n)
            self._leaving.add(n)
            self._tasks.start(f"giving back shard {n} of {self.name}", self._hand_over(n, runtime))
        free = self._free()
        # Others are after the same ones.
        while free and (wanted := quota - len(self._mine)) > 0:
            await asyncio.gather(*(self._take(n, runtime) for n in free[:wanted]))
            free = free[wanted:]

    def _free(self) -> list[int]:
        """The shards that may be had, in an order that is another one for every member."""
        members = self.members
        first = members.index(self.identity) * self.count // len(members)
        order = [(first + n) % self.count for n in range(self.count)]
        return [
            n
            for n in order
            if n not in self._mine and n not in self._leaving and self._claims[n].available
        ]

    async def _take(self, n: int, runtime: Runtime) -> None:
        if not await self._claims[n].attempt() or n in self._mine:
            return
        log.info("%s has shard %d of %s", self.identity, n, self.name)
        self._mine.add(n)
        runtime.readd(lambda key: shard_of(key, self.count) == n)

    async def _hand_over(self, n: int, runtime: Runtime) -> None:
        """Give a shard back when what is being worked on is done; it is renewed until then."""
        await runtime.handed_over(lambda key: shard_of(key, self.count) == n)
        try:
            async with deadline(self._clock, self.times.renew):
                await self._claims[n].release()
            log.info("%s has given back shard %d of %s", self.identity, n, self.name)
        except (TimeoutError, StatusError, ClientError) as e:
            log.warning("shard %d of %s was not given back: %r", n, self.name, e)
        finally:
            self._leaving.discard(n)

    def _losing(self, n: int) -> Callable[[], None]:
        def lost() -> None:
            """It may be another's soon: what is being worked on has half of the time until then."""
            self._mine.discard(n)
            claim = self._claims[n]
            if claim.holder not in ("", self.identity):
                self._abandon(n)
            else:
                self._clock.call_later(claim.until_taken / 2, lambda: self._abandon(n))
            self._wake.set()

        return lost

    def _abandon(self, n: int) -> None:
        if self._runtime is not None and not self._claims[n].held:
            self._runtime.abandon(lambda key: shard_of(key, self.count) == n)


async def run_sharded(make_runtime: Callable[[], Runtime], shards: Shards) -> None:
    """Have an operator work on its share of the objects, until cancelled."""
    async with make_runtime() as runtime:
        runtime.mine = shards.mine
        await runtime.synced()
        await shards.work(runtime)
