"""PacketFilter: keeps the machine's packet filter as the rules say, and leaves no trace."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Collection
from typing import Self

from cove.client import Clock, SystemClock, Tasks
from cove.node.network._run import CommandError, Run, run
from cove.node.network.rules import Rules, prefix

__all__ = ["PacketFilter", "reap_rules"]

log = logging.getLogger("cove.node")

TABLES = ("nat", "filter")
# Seconds between changes at the least, before another attempt at one that failed, and between
# looks whether somebody else removed what is ours.
PAUSE = 0.05
RETRY = 1.0
LOOK = 30.0
# Others change the packet filter too, one after the other.
WAIT = ("-w", "10")

_CHAIN = re.compile(r"COVE-([0-9a-f]{8})-")


class PacketFilter:
    """Applies ``rules()`` on entering and after every :meth:`poke`, the latest only.

    ``applied`` is awaited after every change, ``look`` whenever it is looked whether somebody
    removed something.
    """

    def __init__(
        self,
        key: str,
        rules: Callable[[], Rules],
        *,
        applied: Callable[[], Awaitable[None]] | None = None,
        look: Callable[[], Awaitable[object]] | None = None,
        clock: Clock | None = None,
        command: Run = run,
    ) -> None:
        self._key = key
        self._rules = rules
        self._applied = applied
        self._also = look
        self._clock = clock or SystemClock()
        self._run = command
        self._chains: dict[str, set[str]] = {}
        self._missing: dict[str, list[str]] = {}
        self._last = ""
        self._now: Rules | None = None
        self._poked = asyncio.Event()
        self._idle = asyncio.Event()
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        try:
            await self._look()
            await self._apply()
            self._idle.set()
            self._tasks.start("packet filter", self._keep())
            self._tasks.start("looks at the packet filter", self._watch())
        except BaseException:
            await remove_rules(self._key, self._run)
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._tasks.close()
        await remove_rules(self._key, self._run)

    def poke(self) -> None:
        """Something changed: the rules are made again."""
        self._idle.clear()
        self._poked.set()

    async def settled(self) -> None:
        """Return when everything so far has been applied."""
        await self._idle.wait()

    @property
    def quiet(self) -> bool:
        """Whether nothing waits to be applied."""
        return self._idle.is_set()

    async def check(self) -> None:
        """Apply everything again if somebody removed part of it."""
        if self._also is not None:
            await self._also()
        if await self._look():
            self._last = ""
            self.poke()

    async def _keep(self) -> None:
        while True:
            await self._poked.wait()
            self._poked.clear()
            try:
                await self._apply()
            except CommandError as e:
                log.warning("services: %s", e)
                await self._look()
                self._last = ""
                self._poked.set()
                await self._clock.sleep(RETRY)
                continue
            if not self._poked.is_set():
                self._idle.set()
            await self._clock.sleep(PAUSE)

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(LOOK)
            try:
                await self.check()
            except CommandError as e:
                log.warning("services: %s", e)

    async def _apply(self) -> None:
        rules = self._rules()
        text = rules.text()
        if text != self._last:
            whole = rules.text(self._chains, self._missing)
            await self._run("iptables-restore", "--noflush", *WAIT, stdin=whole)
            self._now, self._last = rules, text
            self._missing = {}
            self._chains = {table: set(chains) for table, chains in rules.tables.items()}
        if self._applied is not None:
            await self._applied()

    async def _look(self) -> bool:
        """See what is there; whether it is less than there should be."""
        now, spoilt = self._now, False
        for table in TABLES:
            saved = (await self._run("iptables-save", "-t", table)).splitlines()
            own = prefix(self._key)
            if now is not self._now:
                return False  # changed meanwhile: what was seen is no longer so
            chains = {line[1:].split(" ", 1)[0] for line in saved if line.startswith(f":{own}")}
            rules = [line for line in saved if line.startswith("-A ") and own in line]
            expected = self._rules_for(table)
            self._chains[table] = chains
            self._missing[table] = [b for b, c in expected if f"-A {b} -j {c}" not in rules]
            spoilt = spoilt or (now is not None and len(rules) != now.size(table))
        return spoilt

    def _rules_for(self, table: str) -> list[tuple[str, str]]:
        return list((self._now or Rules(self._key)).jumps[table].items())


async def remove_rules(key: str, command: Run = run) -> None:
    """Remove every chain of a cluster, and every rule that leads to one."""
    await _remove(lambda found: found == key, command)


async def reap_rules(alive: Collection[str], command: Run = run) -> None:
    """Remove the rules of clusters whose keys are not among ``alive``."""
    await _remove(lambda found: found not in alive, command)


async def _remove(unwanted: Callable[[str], bool], command: Run) -> None:
    for table in TABLES:
        saved = (await command("iptables-save", "-t", table)).splitlines()
        chains = []
        jumps = []
        for line in saved:
            if line.startswith(":"):
                name = line[1:].split(" ", 1)[0]
                if (found := _CHAIN.match(name)) and unwanted(found[1]):
                    chains.append(name)
            elif line.startswith("-A ") and not _CHAIN.match(line[3:]):
                target = line.rpartition(" -j ")[2]
                if (found := _CHAIN.match(target)) and unwanted(found[1]):
                    jumps.append(f"-D {line[3:]}")
        if not chains and not jumps:
            continue
        lines = [f"*{table}", *(f":{c} - [0:0]" for c in chains), *jumps]
        lines += [f"-X {c}" for c in chains]
        text = "\n".join([*lines, "COMMIT", ""])
        await command("iptables-restore", "--noflush", *WAIT, stdin=text)
