"""Plan: what a loop works on, as plain values, wherever it was declared.

An application (``app.py``), a ``skaffold.yaml`` and a compose file all become one of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cove.dev.errors import ConfigurationError
from cove.dev.patterns import SyncRule
from cove.engines.cluster import ClusterOptions
from cove.host.helm import Release

__all__ = [
    "Artifact",
    "ClusterPlan",
    "Deploy",
    "Forward",
    "HelmDeploy",
    "ManifestDeploy",
    "Plan",
    "Program",
    "Requirement",
]


@dataclass(frozen=True, slots=True)
class Requirement:
    """An artifact that another one is built from: the build argument ``alias`` names it."""

    artifact: str
    alias: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """An image that is built of a folder.

    ``name`` is what deployments call it; ``also`` are other names that mean it.
    ``dockerfile`` is relative to ``context``, which is absolute.  ``platforms`` () is the
    engine's own.  ``sync`` are files that are copied into containers instead of a build,
    ``infer`` patterns whose destinations the Dockerfile's COPY says; ``run_after`` are
    commands there, each with the pattern of files that call for it ("" for any);
    ``rebuild_on`` are patterns that mean a build though they would be copied.
    """

    name: str
    context: Path
    dockerfile: str = "Dockerfile"
    also: tuple[str, ...] = ()
    args: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    platforms: tuple[str, ...] = ()
    requires: tuple[Requirement, ...] = ()
    sync: tuple[SyncRule, ...] = ()
    infer: tuple[str, ...] = ()
    run_after: tuple[tuple[str, str], ...] = ()
    rebuild_on: tuple[str, ...] = ()
    no_cache: bool = False

    @property
    def syncs(self) -> bool:
        """Whether anything of it is copied into containers."""
        return bool(self.sync or self.infer)


@dataclass(frozen=True, kw_only=True, slots=True)
class Deploy:
    """Something that is put into the cluster; ``after`` names those that come before it.

    ``waits`` has it wait until these are ready.
    """

    name: str
    after: tuple[str, ...] = ()
    waits: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class HelmDeploy(Deploy):
    """A release.

    ``images`` says which value (a path) is which artifact: a text becomes the whole
    reference, a mapping gets ``repository`` and ``tag``.  ``templates`` are values with
    ``{{.IMAGE_…}}`` in them.  Without either, values that name an artifact are found.
    ``driver`` is which Helm, as of a HelmResource.
    """

    release: Release
    images: Mapping[str, str] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)
    driver: str = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestDeploy(Deploy):
    """Documents: files, folders, kustomizations, and ``documents`` that were made.

    ``images`` says which image in them is which artifact; what is named as one is it anyway.
    ``patterns`` are globs, looked up each time, relative to ``root``.
    """

    paths: tuple[Path, ...] = ()
    patterns: tuple[str, ...] = ()
    root: Path = Path()
    documents: tuple[Mapping[str, Any], ...] = ()
    namespace: str = "default"
    images: Mapping[str, str] = field(default_factory=dict)
    crd_timeout: float = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Forward:
    """A port of this machine that leads to a Service; ``local_port`` 0 is any free one."""

    name: str
    service: str
    port: int | str
    namespace: str = "default"
    local_port: int = 0
    scheme: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A program on this machine, started again when files change that fit ``watch``.

    ``references`` are names of what it is given: the cluster, forwards, artifacts.
    ``port`` None serves nothing, 0 is a free one.
    """

    name: str
    command: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    port: int | None = None
    port_env: str = "PORT"
    watch: tuple[str, ...] = ("**/*.py", "pyproject.toml")
    grace: float = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterPlan:
    """The cluster: its name in the declaration and on this machine, its engine, its options.

    ``engine`` None leaves it to who runs the loop; ``key`` is what references call it.
    """

    name: str
    options: ClusterOptions
    engine: str | None = None
    key: str = "k8s"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All of it.  ``source`` are the files it was read from, absolute, ``remarks`` what a
    person should know of them.

    Raises ConfigurationError for names that are not there, twice there, or circular.
    """

    name: str
    root: Path
    cluster: ClusterPlan
    artifacts: tuple[Artifact, ...] = ()
    deploys: tuple[Deploy, ...] = ()
    forwards: tuple[Forward, ...] = ()
    programs: tuple[Program, ...] = ()
    source: tuple[Path, ...] = ()
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [a.name for a in self.artifacts]
        for name in names:
            if names.count(name) > 1:
                raise ConfigurationError(f'the image "{name}" is declared twice')
        for artifact in self.artifacts:
            for needed in artifact.requires:
                if needed.artifact not in names:
                    raise ConfigurationError(
                        f'the image "{artifact.name}" requires "{needed.artifact}", which is not '
                        f"declared (there are {', '.join(names)})"
                    )
        list(self.levels())

    def artifact(self, name: str) -> Artifact | None:
        """The artifact that a name without tag means."""
        for artifact in self.artifacts:
            if name == artifact.name or name in artifact.also:
                return artifact
        return None

    def levels(self) -> Iterator[list[Artifact]]:
        """Artifacts in an order to be built: those of a level need only earlier ones."""
        left = {a.name: a for a in self.artifacts}
        while left:
            ready = [a for a in left.values() if not any(r.artifact in left for r in a.requires)]
            if not ready:
                raise ConfigurationError(
                    f"the images {', '.join(left)} require each other: none can be built first"
                )
            yield ready
            for artifact in ready:
                del left[artifact.name]

    def ordered(self) -> list[Deploy]:
        """What is deployed, each after what it comes after, else as declared."""
        names = {d.name for d in self.deploys}
        done: set[str] = set()
        out: list[Deploy] = []
        left = list(self.deploys)
        while left:
            found = next(
                (d for d in left if not any(a in names and a not in done for a in d.after)), None
            )
            if found is None:
                told = ", ".join(d.name for d in left)
                raise ConfigurationError(f"{told} come after each other: none can be first")
            left.remove(found)
            done.add(found.name)
            out.append(found)
        return out
