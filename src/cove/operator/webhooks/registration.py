"""Telling the API server of webhooks, keeping it told, and taking it back.

In a cluster the configurations outlive the process: other replicas serve them.  When they
exist already, only how the operator is reached is kept right afterwards: during a roll-out an
older replica must not undo what a newer one has registered.

A developer's process registers under a name of its own, with who it is in an annotation, and
removes that when it ends.  What a killed one left behind is replaced by the next; one that was
replaced while it runs notices, and leaves alone what is no longer its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from cove.client import Backoff, Client, Clock, Informer, SystemClock, UnreachableError
from cove.client._tasks import Tasks
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.operator.webhooks.configurations import (
    KINDS,
    OPERATOR,
    ClientConfig,
    conversion_of,
    webhook_configurations,
)
from cove.operator.webhooks.errors import WebhookError
from cove.operator.webhooks.hub import Conversion, conversions

if TYPE_CHECKING:
    from cove.operator.operator import Operator

__all__ = ["Registration", "unregister"]

Doc = dict[str, Any]
log = logging.getLogger("cove.operator.webhooks")
CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
OWNER = "webhooks.cove.dev/process"
BEFORE = "webhooks.cove.dev/conversion-before"
_NONE = {"strategy": "None"}


def development_name(operator: str) -> str:
    """What configurations of a developer's process are called."""
    return f"{operator}-dev"


class Registration:
    """Entered: what ``operator`` declares is registered, and the bundle kept right.

    ``client_config`` tells how the operator is reached, now; ``refresh`` is awaited before
    anything is repaired, so that what is put right is put right by what holds now.
    """

    def __init__(
        self,
        operator: Operator,
        client: Client,
        client_config: Callable[[], ClientConfig],
        *,
        development: bool,
        refresh: Callable[[], Awaitable[None]] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.operator = operator
        self.name = development_name(operator.name) if development else operator.name
        self.owner = ""
        if development:
            self.owner = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._client = client
        self._manager = f"{operator.name}-webhooks"
        self._client_config = client_config
        self._refresh = refresh
        self._clock = clock or SystemClock()
        self._conversions = conversions(operator.converters)
        self._wake = asyncio.Event()
        self._lost: set[str] = set()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if self.owner:
                stack.push_async_callback(self._leave)
            await self._register()
            followed = self._followed()
            tasks = await stack.enter_async_context(Tasks())
            for gvr, name in followed:
                informer = Informer(
                    self._client, gvr, field_selector=f"metadata.name={name}", clock=self._clock
                )
                informer.add_handler(self._seen)
                # What was gone before the first list is in no event.
                informer.add_state_handler(self._wake.set)
                await stack.enter_async_context(informer)
            if followed:
                tasks.start("registration of webhooks", self._keep())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def wake(self) -> None:
        """Look whether all is registered as it has to be: there is another bundle."""
        self._wake.set()

    def _seen(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        self._wake.set()

    def _followed(self) -> list[tuple[GVR, str]]:
        found = [(KINDS[kind][1], self.name) for kind in KINDS if self._wanted(kind) is not None]
        crds = [(CRDS, _crd(conversion)) for conversion in self._conversions]
        return [*found, *crds]

    def _wanted(self, kind: str) -> Doc | None:
        specs = self.operator.validators if kind == "validate" else self.operator.mutators
        if not specs:
            return None
        docs = webhook_configurations(self.operator, self._client_config(), name=self.name)
        doc = next((d for d in docs if d["kind"] == KINDS[kind][0]), None)
        if doc is not None and self.owner:
            doc["metadata"]["annotations"] = {OWNER: self.owner}
        return doc

    # -- at the start

    async def _register(self) -> None:
        for kind, (_, gvr) in KINDS.items():
            wanted = self._wanted(kind)
            live = await _get(self._client, gvr, self.name)
            if live is not None and self.owner:
                _tell_takeover(live)
            if wanted is not None:
                await self._apply(gvr, wanted)
            elif live is not None and live["metadata"].get("labels", {}).get(OPERATOR):
                await _delete(self._client, gvr, live)
        if self.owner:
            await self._restore_leftovers()
        for conversion in self._conversions:
            await self._convert(conversion, first=True)

    async def _apply(self, gvr: GVR, doc: Doc) -> None:
        await self._client.apply(gvr, doc, field_manager=self._manager, force=True)
        log.info("%s %s is registered", doc["kind"], self.name)

    async def _restore_leftovers(self) -> None:
        """Conversions of an earlier process that are not declared any more."""
        ours = {_crd(conversion) for conversion in self._conversions}
        for cls in self._kinds():
            if cls not in ours:
                crd = await _get(self._client, CRDS, cls)
                if crd is not None and _annotation(crd, OWNER):
                    await _restore(self._client, self._manager, crd)

    def _kinds(self) -> list[str]:
        from cove.operator.entities import info

        specs = (*self.operator.validators, *self.operator.mutators)
        classes = [*self.operator.entities, *(spec.cls for spec in specs)]
        return list(dict.fromkeys(info(cls).crd_name for cls in classes if not info(cls).ignore))

    async def _convert(self, conversion: Conversion, *, first: bool) -> bool:
        """Have a CRD ask here; whether anything had to be written.

        Not applied but replaced: who registered a Service before would keep that field.
        """
        name = _crd(conversion)
        while True:
            crd = await _get(self._client, CRDS, name)
            if crd is None:
                raise WebhookError(
                    f"CustomResourceDefinition {name} is not there: install it before its "
                    "conversion is registered"
                )
            if not first and self._is_lost(name, crd):
                return False
            wanted = self._converted(crd, conversion)
            if wanted == crd:
                return False
            if first and self.owner:
                _tell_takeover(crd)
            try:
                await self._client.update(CRDS, wanted, field_manager=self._manager)
            except StatusError as e:
                if e.code == 409:
                    continue
                raise
            log.info("%s is converted here", name)
            return True

    def _converted(self, crd: Doc, conversion: Conversion) -> Doc:
        wanted = conversion_of(conversion.path, self._client_config())
        annotations = dict(crd["metadata"].get("annotations") or {})
        if self.owner:
            before = crd["spec"].get("conversion") or _NONE
            annotations.setdefault(BEFORE, json.dumps(before, sort_keys=True))
            annotations[OWNER] = self.owner
        else:
            annotations.pop(OWNER, None)
            annotations.pop(BEFORE, None)
        return _with(crd, annotations, wanted)

    # -- meanwhile

    async def _keep(self) -> None:
        backoff, repaired = Backoff(base=0.1, limit=60), self._clock.monotonic()
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                changed = await self._repair()
            except (StatusError, UnreachableError, WebhookError) as e:
                log.warning("registration of the webhooks of %s: %s", self.operator.name, e)
                changed = True
                self._wake.set()
            if not changed:
                continue
            # Two who put the same thing right must not do so as fast as they can.
            now = self._clock.monotonic()
            if now - repaired > 60:
                backoff.reset()
            repaired = now
            await self._clock.sleep(backoff.delay())

    async def _repair(self) -> bool:
        if self._refresh is not None:
            await self._refresh()
        changed = False
        for kind, (_, gvr) in KINDS.items():
            wanted = self._wanted(kind)
            if wanted is not None:
                changed |= await self._repair_one(gvr, wanted)
        for conversion in self._conversions:
            changed |= await self._convert(conversion, first=False)
        return changed

    async def _repair_one(self, gvr: GVR, wanted: Doc) -> bool:
        live = await _get(self._client, gvr, self.name)
        if live is not None and self._is_lost(wanted["kind"], live):
            return False
        configs = {webhook["name"]: webhook["clientConfig"] for webhook in wanted["webhooks"]}
        there = (live or {}).get("webhooks") or []
        if live is None or not configs.keys() <= {webhook["name"] for webhook in there}:
            await self._apply(gvr, wanted)
            return True
        right = [{**w, "clientConfig": configs.get(w["name"], w["clientConfig"])} for w in there]
        if right == there:
            return False
        try:
            await self._client.update(gvr, {**live, "webhooks": right}, field_manager=self._manager)
        except StatusError as e:
            if e.code not in (404, 409):
                raise
            self._wake.set()
        log.info("%s %s: it is known again how to ask", wanted["kind"], self.name)
        return True

    def _is_lost(self, what: str, live: Doc) -> bool:
        """Whether another developer's process has it now."""
        owner = _annotation(live, OWNER)
        if owner == self.owner or (self.owner and not owner):
            return False
        if what not in self._lost:
            self._lost.add(what)
            log.warning("%s: %s has taken over %s", self.operator.name, owner, what)
        return True

    # -- at the end

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(10):
                await _remove(self._client, self.operator, self.name, self._manager, self.owner)
        except (StatusError, UnreachableError, TimeoutError) as e:
            log.warning(
                "the webhooks of %s are still registered as %s: %s; the next run replaces them",
                self.operator.name,
                self.name,
                str(e) or type(e).__name__,
            )


async def unregister(operator: Operator, client: Client, *, development: bool = False) -> None:
    """Take away what is registered for an operator, whoever did it.

    ``development`` is what developers' processes have registered.  CRDs whose conversion is
    the operator's are no longer converted, or as they were before a developer's process.
    """
    name = development_name(operator.name) if development else operator.name
    await _remove(client, operator, name, f"{operator.name}-webhooks", None)


async def _remove(
    client: Client, operator: Operator, name: str, manager: str, owner: str | None
) -> None:
    """Take away what ``owner`` registered; None: what anybody has."""
    for _, gvr in KINDS.values():
        live = await _get(client, gvr, name)
        if live is not None and owner in (None, _annotation(live, OWNER)):
            await _delete(client, gvr, live)
    development = name != operator.name
    for conversion in conversions(operator.converters):
        crd = await _get(client, CRDS, _crd(conversion))
        whose = _annotation(crd, OWNER) if crd is not None else ""
        if crd is None or owner not in (None, whose) or bool(whose) != development:
            continue
        await _restore(client, manager, crd)


async def _restore(client: Client, manager: str, crd: Doc) -> None:
    """Have a CRD converted as before somebody took it over: by nobody, usually."""
    owner, live = _annotation(crd, OWNER), crd
    while _annotation(live, OWNER) == owner:
        annotations = dict(live["metadata"].get("annotations") or {})
        before = json.loads(annotations.pop(BEFORE, "null")) or _NONE
        annotations.pop(OWNER, None)
        try:
            await client.update(CRDS, _with(live, annotations, before), field_manager=manager)
            return
        except StatusError as e:
            if e.code not in (404, 409):
                raise
        found = await _get(client, CRDS, crd["metadata"]["name"])
        if found is None:
            return
        live = found


def _with(crd: Doc, annotations: Doc, conversion: Doc) -> Doc:
    metadata = {k: v for k, v in crd["metadata"].items() if k != "annotations"}
    if annotations:
        metadata["annotations"] = annotations
    return {**crd, "metadata": metadata, "spec": {**crd["spec"], "conversion": conversion}}


def _crd(conversion: Conversion) -> str:
    return conversion.path.removeprefix("/convert/")


def _annotation(doc: Doc, name: str) -> str:
    return str((doc["metadata"].get("annotations") or {}).get(name, ""))


def _tell_takeover(live: Doc) -> None:
    """Say so where the process that is replaced runs on this machine."""
    host, _, rest = _annotation(live, OWNER).partition("/")
    pid = rest.partition("/")[0]
    if host != socket.gethostname() or not pid.isdigit() or int(pid) == os.getpid():
        return
    try:
        os.kill(int(pid), 0)
    except OSError:
        return
    log.warning("%s is taken over from process %s, which runs", live["metadata"]["name"], pid)


async def _get(client: Client, gvr: GVR, name: str) -> Doc | None:
    try:
        return await client.get(gvr, name)
    except StatusError as e:
        if e.code == 404:
            return None
        raise


async def _delete(client: Client, gvr: GVR, live: Doc) -> None:
    """Delete exactly what was seen."""
    metadata = live["metadata"]
    try:
        await client.delete(
            gvr,
            metadata["name"],
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
        )
    except StatusError as e:
        if e.code not in (404, 409):
            raise
