"""What tests of files share: a transport that remembers and fails on request, programs, names."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from cove.client import (
    Answer,
    Client,
    HttpTransport,
    Stream,
    Transport,
    UnreachableError,
    kubeconfig,
)
from cove.engines.embedded import Running
from cove.files import Tree
from cove.kube.gvk import GVR

PODS = GVR("", "v1", "pods")
CONFIG_MAPS = GVR("", "v1", "configmaps")
SECRETS = GVR("", "v1", "secrets")
NAMESPACES = GVR("", "v1", "namespaces")
EVENTS = GVR("", "v1", "events")
CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
MAPS = "/namespaces/default/configmaps"


class Sent(NamedTuple):
    """A request that left the process."""

    method: str
    path: str
    query: str
    accept: str


class Spy:
    """A transport around a transport: what was sent, and answers that are not the server's.

    ``answers`` maps the beginning of a path to a status, or to None for no answer at all, or
    to a whole document.
    """

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.sent: list[Sent] = []
        self.answers: dict[str, int | dict[str, Any] | None] = {}

    def _note(self, method: str, path: str, query: str, headers: Mapping[str, str] | None) -> None:
        self.sent.append(Sent(method, path, query, (headers or {}).get("Accept", "")))

    def _answer(self, path: str) -> Answer | None:
        for start, answer in self.answers.items():
            if path.startswith(start):
                if answer is None:
                    raise UnreachableError(f"GET {path}: refused")
                if isinstance(answer, dict):
                    return Answer(200, {}, orjson.dumps(answer))
                status = {"kind": "Status", "message": f"made up: {answer}", "code": answer}
                return Answer(answer, {}, orjson.dumps(status))
        return None

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        self._note(method, path, query, headers)
        made_up = self._answer(path)
        if made_up is not None:
            return made_up
        return await self.inner.request(method, path, query=query, headers=headers, body=body)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Stream]:
        self._note(method, path, query, headers)
        made_up = self._answer(path)
        if made_up is not None:

            async def once() -> AsyncIterator[bytes]:
                yield made_up.body

            yield Stream(made_up.status, made_up.headers, once())
            return
        async with self.inner.stream(method, path, query=query, headers=headers) as stream:
            yield stream

    async def close(self) -> None:
        await self.inner.close()

    def paths(self, containing: str = "") -> list[str]:
        """The paths of what was sent, those with a text in them."""
        return [s.path for s in self.sent if containing in s.path]


@asynccontextmanager
async def spying(cluster: Running, **options: Any) -> AsyncIterator[tuple[Tree, Spy]]:
    """A tree of a cluster over HTTP, and what it sends."""
    spy = Spy(HttpTransport(kubeconfig.load(cluster.kubeconfig_path)))
    async with Client(spy) as client, Tree(client, **options) as tree:
        yield tree, spy


async def names(tree: Tree, path: str) -> list[str]:
    """What is in a directory."""
    return [entry.name for entry in await tree.readdir(path)]


def config_map(name: str = "a", namespace: str = "default", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "data": data or {"k": "v"}}


def pod(name: str = "web", **spec: Any) -> dict[str, Any]:
    containers = [{"name": "main", "image": "registry.example.com/app:1"}]
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": containers, **spec},
    }


def definition(
    plural: str, group: str, kind: str, *, versions: tuple[str, ...] = ("v1",)
) -> dict[str, Any]:
    """A CRD whose objects may hold anything."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "singular": kind.lower()},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": number == 0,
                    "schema": {"openAPIV3Schema": schema},
                }
                for number, version in enumerate(versions)
            ],
        },
    }


class Ended(NamedTuple):
    """How a program ended."""

    code: int
    out: str
    err: str


class Shell:
    """Programs that look into a mounted directory, which is ``$D`` to them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    async def attempt(self, command: str) -> Ended:
        """How a command ended; killed after half a minute."""
        process = await asyncio.create_subprocess_shell(
            command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "D": str(self.directory), "LC_ALL": "C.UTF-8"},
        )
        try:
            async with asyncio.timeout(30):
                out, err = await process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())

    async def __call__(self, command: str) -> str:
        """What a command prints; fails the test if it fails."""
        ended = await self.attempt(command)
        assert ended.code == 0, f"{command}: {ended}"
        return ended.out

    def path(self, below: str) -> str:
        """A path below the mount, quoted for a shell."""
        return shlex.quote(f"{self.directory}{below}")
