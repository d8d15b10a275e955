"""Kinds of operators under test on clusters that others use, too: k3s, and those that exist.

A definition is there for all tests of the cluster, those of other processes included.  Who
needs it writes so down in it; the last one to be done with it takes it away, unless it was there
before any test.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from cove.client import Client
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.operator.commands.install import install
from cove.operator.definitions import crds
from cove.operator.generate.generators import kinds

if TYPE_CHECKING:
    from cove.operator.operator import Operator

__all__ = ["LABEL", "installed"]

Doc = dict[str, Any]
CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
# Definitions that tests have made, so that those of runs that crashed can be found.
LABEL = "dev.cove.testing/run"
# The annotations that say who needs one begin with it.
USER = "dev.cove.testing/user-"


@asynccontextmanager
async def installed(op: Operator, client: Client) -> AsyncIterator[None]:
    """The kinds of ``op`` are served.  Raises InstallError, and StatusError of the server."""
    user = f"{USER}{socket.gethostname()[:20].strip('.-')}-{os.getpid()}-{uuid4().hex[:6]}"
    ours: list[str] = []
    try:
        for doc in crds(kinds(op)):
            if await _take(client, doc, user):
                ours.append(doc["metadata"]["name"])
        await install(op, client)
        yield
    finally:
        for name in ours:
            await _leave(client, name, user)


async def _take(client: Client, doc: Doc, user: str) -> bool:
    """Have it there, with a note of who needs it; False for one that is not the tests'."""
    name = doc["metadata"]["name"]
    note = {"labels": {LABEL: str(os.getpid())}, "annotations": {user: "needs it"}}
    while True:
        try:
            found = await client.get(CRDS, name)
            if found["metadata"].get("deletionTimestamp"):
                await _gone(client, found)
                continue
            if LABEL not in (found["metadata"].get("labels") or {}):
                return False
            noted = await client.patch(CRDS, name, {"metadata": note})
            if not noted["metadata"].get("deletionTimestamp"):
                return True
        except StatusError as e:
            if e.code != 404:
                raise
            try:
                metadata = {**doc["metadata"], **note}
                await client.create(CRDS, {**doc, "metadata": metadata})
            except StatusError as made:
                # Somebody else was faster.
                if made.reason != "AlreadyExists":
                    raise
            else:
                return True


async def _gone(client: Client, found: Doc) -> None:
    """Return when it is deleted."""
    name, version = found["metadata"]["name"], found["metadata"]["resourceVersion"]
    async with client.watch(
        CRDS, field_selector=f"metadata.name={name}", resource_version=version
    ) as events:
        async for event in events:
            if event.type == "DELETED":
                return


async def _leave(client: Client, name: str, user: str) -> None:
    """Need it no more; delete it if nobody does."""
    try:
        found = await client.patch(CRDS, name, {"metadata": {"annotations": {user: None}}})
        metadata = found["metadata"]
        if not any(key.startswith(USER) for key in metadata.get("annotations") or {}):
            version = metadata["resourceVersion"]
            await client.delete(CRDS, name, uid=metadata["uid"], resource_version=version)
    except StatusError as e:
        # It is gone, or somebody needs it after all.
        if e.code not in (404, 409):
            raise
