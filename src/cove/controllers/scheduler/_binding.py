"""Binding: what the scheduler writes once a pod's node is chosen.

Volumes first: they are bound, or asked for, and waited for; then the pod.
"""

from __future__ import annotations

import asyncio
from typing import Any

from cove.client import Client, Clock, Informer
from cove.client.meta import key_of
from cove.controllers._resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from cove.controllers._volumes import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    SELECTED_NODE,
    claim_reference,
)
from cove.controllers.scheduler._volumes import Decision

__all__ = ["BindingError", "VolumeBinding", "bind"]

Doc = dict[str, Any]

# Seconds that volumes may take.
TIMEOUT = 600.0


class BindingError(Exception):
    """The volumes were not bound: the pod has to be placed again."""


async def bind(client: Client, pod: Doc, node: str) -> None:
    """Tell the server where the pod runs."""
    metadata = pod["metadata"]
    await client.create(
        PODS,
        {
            "kind": "Binding",
            "apiVersion": "v1",
            "metadata": {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "target": {"kind": "Node", "name": node},
        },
        metadata["namespace"],
        name=metadata["name"],
        subresource="binding",
    )


class VolumeBinding:
    """Carries out decisions about volumes; :meth:`changed` is told of every claim."""

    def __init__(self, client: Client, clock: Clock, claims: Informer) -> None:
        self._client = client
        self._clock = clock
        self._claims = claims
        self._waiters: set[asyncio.Event] = set()

    def changed(self) -> None:
        """A claim has changed."""
        for waiter in self._waiters:
            waiter.set()

    async def carry_out(self, decision: Decision, node: str) -> None:
        """Bind and have provisioned; returns when all claims are bound.

        Raises BindingError, StatusError.
        """
        for claim, volume in decision.bindings:
            ref = volume["spec"].get("claimRef")
            annotations = dict(volume["metadata"].get("annotations") or {})
            if ref is None:
                annotations[BOUND_BY_CONTROLLER] = "yes"
            await self._client.update(
                PERSISTENT_VOLUMES,
                {
                    **volume,
                    "metadata": {**volume["metadata"], "annotations": annotations},
                    "spec": {**volume["spec"], "claimRef": claim_reference(claim)},
                },
            )
        for claim in decision.provisions:
            metadata = claim["metadata"]
            await self._client.patch(
                PERSISTENT_VOLUME_CLAIMS,
                metadata["name"],
                {"metadata": {"uid": metadata["uid"], "annotations": {SELECTED_NODE: node}}},
                metadata["namespace"],
            )
        wanted = {key_of(c): c["metadata"]["uid"] for c, _ in decision.bindings}
        asked = {key_of(c): c["metadata"]["uid"] for c in decision.provisions}
        await self._wait(wanted | asked, asked)

    async def _wait(self, wanted: dict[str, str], asked: dict[str, str]) -> None:
        waiter = asyncio.Event()
        self._waiters.add(waiter)
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            waiter.set()

        timer = self._clock.call_later(TIMEOUT, give_up)
        seen: set[str] = set()
        try:
            while not self._bound(wanted, asked, seen):
                if late:
                    raise BindingError("binding volumes: context deadline exceeded")
                waiter.clear()
                await waiter.wait()
        finally:
            timer.cancel()
            self._waiters.discard(waiter)

    def _bound(self, wanted: dict[str, str], asked: dict[str, str], seen: set[str]) -> bool:
        done = True
        for key, uid in wanted.items():
            claim = self._claims.get_key(key)
            if claim is None or claim["metadata"]["uid"] != uid:
                name = key.partition("/")[2]
                raise BindingError(f'binding volumes: persistentvolumeclaim "{name}" not found')
            annotations = claim["metadata"].get("annotations") or {}
            if claim["spec"].get("volumeName") and BIND_COMPLETED in annotations:
                continue
            done = False
            if key in asked:
                if SELECTED_NODE in annotations:
                    seen.add(key)
                elif key in seen:
                    # Whoever provisions takes the annotation away where it cannot.
                    raise BindingError(f'binding volumes: provisioning failed for PVC "{key}"')
        return done
