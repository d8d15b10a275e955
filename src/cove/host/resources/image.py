"""ImageResource: an image that is built before who uses it starts."""

from __future__ import annotations

import asyncio
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

from cove.host.context import Ignored, IgnoreError, digest, files
from cove.host.errors import AppError, ResourceError
from cove.host.resource import Resource

if TYPE_CHECKING:
    from cove.host.app import App
    from cove.host.run import Run
    from cove.node.docker.connection import Engine

__all__ = ["ImageResource"]


class ImageResource(Resource):
    """An image built of a folder by the engine; completes when it is there.

    ``context`` is the folder, ``dockerfile`` the file in it that says how, ``args`` its build
    arguments, ``target`` a stage of it.  What ``.dockerignore`` names is left out.  It is called
    after what goes into it, so that nothing is built twice; ``tag`` is a name besides, such as
    shop/web:dev, by which pods of the same engine can name it.  ``requires`` are images that it
    is built from, by name or as ``{"BASE": "base"}``: the build argument (the name in capitals
    unless said) tells the Dockerfile what they are called.

    What follows is for ``cove dev watch``.  ``sync`` are files that are copied into running
    containers instead of a build, ``("src/**/*.py", "/app/src")``: the pattern is relative to
    the context, what comes before its first wildcard is taken off.  ``run_after_sync`` are
    commands run there afterwards, ``("pip install -e .", "pyproject.toml")``, with the pattern
    of files that call for them, or the command alone.  ``rebuild_on`` are patterns that mean a
    build though they would be copied.
    """

    kind: ClassVar[str] = "image"
    completes: ClassVar[bool] = True

    def __init__(
        self,
        app: App,
        name: str,
        context: str | Path,
        *,
        dockerfile: str = "Dockerfile",
        args: Mapping[str, str] | None = None,
        target: str = "",
        tag: str | None = None,
        requires: Iterable[str | ImageResource] | Mapping[str, str | ImageResource] = (),
        platforms: Iterable[str] = (),
        sync: Iterable[tuple[str, str]] = (),
        run_after_sync: Iterable[tuple[str, str] | str] = (),
        rebuild_on: Iterable[str] = (),
        explicit_start: bool = False,
    ) -> None:
        if tag is not None and not tag.strip():
            raise AppError(f"the tag of image {name} is blank: name it, or leave it out")
        if not dockerfile.strip():
            raise AppError(f"the dockerfile of image {name} is blank: name it, or leave it out")
        self.context = app.path(context)
        self.dockerfile, self.args, self.target = dockerfile, dict(args or {}), target
        self.tag = tag
        self.requires = _requirements(requires)
        self.platforms = tuple(platforms)
        self.sync = tuple((str(pattern), str(dest)) for pattern, dest in sync)
        self.run_after_sync = tuple(
            (each, "") if isinstance(each, str) else (str(each[0]), str(each[1]))
            for each in run_after_sync
        )
        self.rebuild_on = tuple(rebuild_on)
        # What its containers are made of, once it was built.
        self.built = ""
        super().__init__(app, name, explicit_start=explicit_start)
        self.after(*self.requires.values())

    @property
    def properties(self) -> Mapping[str, str]:
        """Where it is built from."""
        return {"context": str(self.context), "dockerfile": self.dockerfile}

    async def run(self, run: Run) -> int | None:
        """Build it unless it is there; see Resource.run."""
        engine = await run.host.engines.get()
        await run.starting("reading the context")
        with tempfile.TemporaryFile() as tar:
            hashed = await asyncio.to_thread(self._pack, tar)
            self.built = f"cove.local/{self.app.name}/{self.name}:{hashed}"
            await run.tell(image=self.built)
            if await engine.image(self.built) is not None:
                run.log(f"{self.built} is there already")
            else:
                tar.seek(0)
                await self._build(run, engine, tar)
            if self.tag is not None:
                await engine.tag(self.built, self.tag)
        return None

    async def _build(self, run: Run, engine: Engine, tar: IO[bytes]) -> None:
        from cove.node.docker.connection import DockerError, EngineDownError

        params = {
            "t": self.built,
            "dockerfile": self.dockerfile,
            "buildargs": _json(self._arguments()),
            "target": self.target,
            "rm": "true",
            "forcerm": "true",
            "labels": _json(run.host.engines.labels(self.name, persistent=True)),
        }
        await run.starting("building")
        try:
            async for said in engine.build(tar, params):
                if "error" in said:
                    raise ResourceError(f"it cannot be built: {said['error'].strip()}")
                if text := said.get("stream", "").rstrip():
                    run.log(text)
        except (DockerError, EngineDownError) as e:
            raise ResourceError(f"it cannot be built: {getattr(e, 'message', '') or e}") from e

    def _arguments(self) -> dict[str, str]:
        """Build arguments, what the required images are called among them."""
        built = {
            alias: getattr(self.app.resources[name], "built", "")
            for alias, name in self.requires.items()
        }
        return {**self.args, **built}

    def _pack(self, tar: IO[bytes]) -> str:
        """Write the context as a tar file; the hash of all that goes into the image."""
        file = self.context / self.dockerfile
        if not self.context.is_dir():
            raise ResourceError(f"its context {self.context} is no folder")
        if not file.is_file():
            raise ResourceError(f"there is no {file} that says how to build it")
        try:
            ignored = Ignored.read(self.context, self.dockerfile)
        except IgnoreError as e:
            raise ResourceError(str(e)) from e
        found = files(self.context, ignored)
        with tarfile.open(fileobj=tar, mode="w") as archive:
            for path in found:
                archive.add(self.context / path, path, recursive=False, filter=_anonymous)
        return digest(self.context, found, {"args": self._arguments(), "target": self.target})


def _requirements(
    requires: Iterable[str | ImageResource] | Mapping[str, str | ImageResource],
) -> dict[str, str]:
    """Build argument → image."""
    if isinstance(requires, Mapping):
        return {alias: _name(each) for alias, each in requires.items()}
    names = [_name(each) for each in requires]
    return {name.upper().replace("-", "_"): name for name in names}


def _name(image: str | ImageResource) -> str:
    return image if isinstance(image, str) else image.name


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Who owns a file here is nothing to the image."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _json(value: Any) -> str:
    import json

    return json.dumps(value)
