"""Artifacts: images from their folders to where the cluster pulls them.

The tag of an image is the hash of all that makes it; one that the registry has under that
tag is neither built nor pushed, one that the engine has is pushed alone.  What does not
need each other is built at the same time.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cove.dev.buildkit import TRACE, Trace
from cove.dev.contexts import Context
from cove.dev.errors import BuildError, DevError, PushError
from cove.dev.plan import Artifact, Plan
from cove.dev.registry import RegistryAddress, credentials, digest_of
from cove.host.images import Built
from cove.kube.status import CoveError

if TYPE_CHECKING:
    from cove.node.docker.connection import Engine

__all__ = ["LABEL", "Builder", "Made", "Round"]

# Marks what a loop built, with the cluster it was for.
LABEL = "dev.cove.dev"
# Builds at the same time: more only wait for the same disk and processors.
AT_ONCE = 4
# Lines that are shown of a build that failed.
LAST_LINES = 12
# The name of images that no registry holds.
NOWHERE = "cove.local"
_NO_SESSION = "no active session"

Say = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Made:
    """An image that is there: ``how`` is built, pushed (the engine had it) or there."""

    image: Built
    how: str
    build_seconds: float = 0.0
    push_seconds: float = 0.0


@dataclass(slots=True)
class Round:
    """What became of several artifacts, by name."""

    made: dict[str, Made] = field(default_factory=dict)
    failed: dict[str, DevError] = field(default_factory=dict)


class Builder:
    """Builds the artifacts of a plan with one engine, for one registry (None: for none).

    ``say(artifact, line)`` is told what happens.  ``load`` gives an image to nodes where there
    is no registry; None where they use the engine's own images.  ``environ`` is asked for
    DOCKER_BUILDKIT.
    """

    def __init__(
        self,
        plan: Plan,
        engine: Engine,
        registry: RegistryAddress | None,
        *,
        cluster: str,
        say: Say,
        load: Callable[[str], Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._plan = plan
        self._engine = engine
        self._registry = registry
        self._cluster = cluster
        self._say = say
        self._load = load
        self._environ = os.environ if environ is None else environ
        self._contexts = {a.name: Context(a) for a in plan.artifacts}
        self._locks = {a.name: asyncio.Lock() for a in plan.artifacts}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._builder = ""
        self._loaded: set[str] = set()

    def context(self, name: str) -> Context:
        """The context of an artifact."""
        return self._contexts[name]

    def repository(self, name: str, *, pods: bool = False) -> str:
        """``localhost:5000/shop/gateway``, by which this machine, or pods, name it."""
        path = re.sub(r"[^a-z0-9._/-]+", "-", f"{self._plan.name}/{name}".lower())
        if self._registry is None:
            return f"{NOWHERE}/{path}"
        return f"{self._registry.pods if pods else self._registry.host}/{path}"

    async def builder(self) -> str:
        """buildkit or classic: DOCKER_BUILDKIT's word, else the engine's own default."""
        if not self._builder:
            said = self._environ.get("DOCKER_BUILDKIT", "")
            if said in ("0", "1"):
                self._builder = "buildkit" if said == "1" else "classic"
            else:
                self._builder = await self._engine.builder()
        return self._builder

    async def make(self, names: Iterable[str]) -> Round:
        """Have these artifacts, and what they require, where the cluster pulls them."""
        out = Round()
        tasks: dict[str, asyncio.Task[None]] = {}

        async def one(artifact: Artifact) -> None:
            needed = [r.artifact for r in artifact.requires]
            if needed:
                await asyncio.wait([tasks[name] for name in needed])
            missing = [name for name in needed if name not in out.made]
            if missing:
                out.failed[artifact.name] = BuildError(
                    f"{artifact.name} was not built: it is built from {', '.join(missing)}"
                )
                return
            try:
                async with self._slots, self._locks[artifact.name]:
                    images = {n: out.made[n].image for n in needed}
                    out.made[artifact.name] = await self._make(artifact, images)
            except DevError as e:
                out.failed[artifact.name] = e

        wanted = self._closure(names)
        for level in self._plan.levels():
            for artifact in level:
                if artifact.name in wanted:
                    tasks[artifact.name] = asyncio.create_task(
                        one(artifact), name=f"build of {artifact.name}"
                    )
        try:
            await asyncio.gather(*tasks.values())
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        return out

    def _closure(self, names: Iterable[str]) -> set[str]:
        found: set[str] = set()
        left = list(names)
        while left:
            name = left.pop()
            if name not in found:
                found.add(name)
                artifact = self._plan.artifact(name)
                left += [r.artifact for r in artifact.requires] if artifact is not None else []
        return found

    async def _make(self, artifact: Artifact, needed: Mapping[str, Built]) -> Made:
        name = artifact.name
        context = self._contexts[name]
        more = {n: image.tag for n, image in needed.items()}
        tag = await asyncio.to_thread(context.digest, more)
        here, pods = self.repository(name), self.repository(name, pods=True)
        if self._registry is not None:
            digest = await digest_of(here, tag)
            if digest:
                return Made(Built(name, pods, tag, digest), "there")
        elif f"{here}:{tag}" in self._loaded:
            return Made(Built(name, pods, tag), "there")
        begun = time.monotonic()
        how = "pushed"
        if await self._engine.image(f"{here}:{tag}") is None:
            how = "built"
            await self._build(artifact, context, f"{here}:{tag}", needed)
        built = time.monotonic()
        digest = await self._deliver(name, here, tag)
        pushed = time.monotonic()
        return Made(Built(name, pods, tag, digest), how, built - begun, pushed - built)

    # -- building

    async def _build(
        self, artifact: Artifact, context: Context, name: str, needed: Mapping[str, Built]
    ) -> None:
        builder = await self.builder()
        self._say(artifact.name, f"building {name} ({builder})")
        with tempfile.TemporaryFile() as tar:
            await asyncio.to_thread(context.pack, tar)
            params = self._params(artifact, context, name, needed)
            tar.seek(0)
            try:
                await self._run(artifact.name, tar, params, builder)
            except BuildError as e:
                # Its part in the engine fetches from registries through whoever asked alone.
                if builder != "buildkit" or _NO_SESSION not in str(e):
                    raise
                self._say(artifact.name, "BuildKit cannot fetch the base image: building classic")
                tar.seek(0)
                await self._run(artifact.name, tar, params, "classic")

    def _params(
        self, artifact: Artifact, context: Context, name: str, needed: Mapping[str, Built]
    ) -> dict[str, str]:
        args = dict(artifact.args)
        for requirement in artifact.requires:
            image = needed[requirement.artifact]
            # What this machine calls it: the engine builds, not the cluster.
            here = self.repository(requirement.artifact)
            args[requirement.alias] = f"{here}:{image.tag}"
        params = {
            "t": name,
            "dockerfile": context.dockerfile,
            "buildargs": json.dumps(args),
            "target": artifact.target,
            "rm": "true",
            "forcerm": "true",
            "labels": json.dumps({LABEL: self._cluster}),
        }
        if artifact.platforms:
            params["platform"] = ",".join(artifact.platforms)
        if artifact.no_cache:
            params["nocache"] = "true"
        return params

    async def _run(self, name: str, tar: Any, params: dict[str, str], builder: str) -> None:
        """One build; raises BuildError with its last lines."""
        from cove.node.docker.connection import DockerError, EngineDownError

        last: deque[str] = deque(maxlen=LAST_LINES)
        trace = Trace()
        failed = ""
        version = {"version": "2" if builder == "buildkit" else "1"}
        try:
            async for said in self._engine.build(tar, {**params, **version}):
                if "error" in said:
                    failed = str(said["error"]).strip()
                    continue
                lines = str(said.get("stream", "")).splitlines()
                if said.get("id") == TRACE:
                    lines = trace.lines(said.get("aux"))
                for line in filter(str.strip, lines):
                    last.append(line)
                    self._say(name, line)
        except (DockerError, EngineDownError) as e:
            failed = str(getattr(e, "message", "") or e)
        if failed:
            told = "".join(f"\n  {line}" for line in last if line.strip() != failed)
            raise BuildError(f"{name} could not be built: {failed}{told}")

    # -- delivering

    async def _deliver(self, name: str, repository: str, tag: str) -> str:
        """Push, or give it to the nodes; the digest, "" without a registry."""
        if self._registry is not None:
            return await self._push(name, repository, tag)
        if self._load is not None:
            self._say(name, "giving it to the nodes")
            try:
                await self._load(f"{repository}:{tag}")
            except CoveError as e:
                raise PushError(f"{name} was built, and the nodes do not have it: {e}") from e
        self._loaded.add(f"{repository}:{tag}")
        return ""

    async def _push(self, name: str, repository: str, tag: str) -> str:
        from cove.node.docker.connection import DockerError, EngineDownError

        assert self._registry is not None
        self._say(name, f"pushing to {self._registry.host}")
        digest = refused = ""
        try:
            async for said in self._engine.push(
                f"{repository}:{tag}", credentials(self._registry.host)
            ):
                if "error" in said:
                    refused = str(said["error"]).strip()
                elif "Digest" in (aux := said.get("aux") or {}):
                    digest = str(aux["Digest"])
        except (DockerError, EngineDownError) as e:
            refused = str(getattr(e, "message", "") or e)
        if refused:
            raise PushError(
                f"{name} was built, and the registry {self._registry} refused it: {refused}; "
                f"{_advice(refused, self._registry.host)}"
            )
        digest = digest or await digest_of(repository, tag) or ""
        if not digest:
            raise PushError(
                f"{name} was pushed, and the registry {self._registry} does not have it"
            )
        return digest


def _advice(refused: str, host: str) -> str:
    server = host.partition("/")[0]
    text = refused.lower()
    if "unauthorized" in text or "denied" in text or "no basic auth" in text:
        return f"log in with `docker login {server}`, or name another registry with --registry"
    if "refused" in text or "no such host" in text or "timeout" in text:
        return "look whether it runs: `cove dev up` starts the one of the cluster"
    if "http response to https" in text:
        return f"it speaks plain HTTP: name {server} among the engine's insecure-registries"
    return "nothing was deployed of it"
