"""Clusters of `cove up` that no process of cove's serves: of k3s, and existing ones.

::

    $COVE_HOME/k3s/NAME/kept.json        what it was started with, where what beside it is
    $COVE_HOME/attached/NAME/            0700: an existing cluster that was given a name
        kept.json  kubeconfig.yaml       0600: its context alone, with what it signs in by

A name is one cluster's, whatever the engine.  Who asks again for a cluster that runs gets it
as it is; options that are not given are those of the last time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cove.engines.cluster import ClusterOptions, EngineName, OptionError
from cove.engines.home import ClusterFolder, home
from cove.engines.k3s_options import K3sOptions
from cove.engines.variants import publish
from cove.kube.status import CoveError

if TYPE_CHECKING:
    from cove.engines.k3s import K3sCluster
    from cove.node.docker.connection import Engine

__all__ = ["Attached", "Given", "attached", "engine_of", "every", "reset", "start", "state", "stop"]

Doc = dict[str, Any]
FILE = "kept.json"
# Seconds that a server has to end by itself.
GRACE = 10


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a command was told of a cluster; None, or empty, is what it was not told."""

    version: str | None = None
    agents: int | None = None
    api_port: int | None = None
    pod_subnet: str | None = None
    service_subnet: str | None = None
    ingress: bool | None = None
    registry: bool | None = None
    domains: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    extra_args: tuple[str, ...] = ()
    in_memory: bool | None = None
    container_engine: str | None = None
    context: str | None = None

    @property
    def said(self) -> Doc:
        """Those that were told."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in values.items() if value not in (None, ())}

    @classmethod
    def of(cls, doc: Mapping[str, Any]) -> Given:
        """What :attr:`said` gave, as JSON has it; what is not known is left out."""
        known: Doc = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in doc.items()
            if key in cls.__dataclass_fields__
        }
        return cls(**known)

    def options(self) -> ClusterOptions:
        """Of a k3s cluster that lasts, and whose objects do."""
        off = ("ingress",) if self.ingress is False else ()
        return ClusterOptions(
            version=self.version,
            agents=self.agents or 0,
            api_port=self.api_port or 0,
            pod_subnet=self.pod_subnet,
            service_subnet=self.service_subnet,
            disable=off,
            extra_args=self.extra_args,
            data_volume=None if self.in_memory else "",
            lifetime="persistent",
            domains=self.domains,
            mirrors=_pairs(self.mirrors),
            images=_pairs(self.images),
            container_engine=self.container_engine,
            k3s=K3sOptions(registry=bool(self.registry), ingress=bool(self.ingress)),
        )


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    return dict(text.split("=", 1) for text in texts)


@dataclass(frozen=True)
class Attached:
    """One of them; ``facts`` is what was noted down, {} for a cluster of an application."""

    name: str
    engine: EngineName
    path: Path
    facts: Mapping[str, Any]

    @property
    def kubeconfig(self) -> Path:
        """For programs of this machine."""
        return self.path / ("local/kubeconfig.yaml" if self.engine == "k3s" else "kubeconfig.yaml")

    @property
    def server(self) -> str:
        """Its URL, "" while it has none."""
        try:
            doc = yaml.safe_load(self.kubeconfig.read_text())
            return str(doc["clusters"][0]["cluster"]["server"])
        except (OSError, LookupError, TypeError, yaml.YAMLError):
            return ""

    @property
    def addresses(self) -> dict[str, str]:
        """Where what runs beside its pods is, as last known."""
        return dict(self.facts.get("addresses") or {})

    @property
    def given(self) -> Given:
        """What it was started with."""
        return Given.of(self.facts.get("given") or {})


def _places() -> Iterator[tuple[EngineName, Path]]:
    yield "k3s", home() / "k3s"
    yield "existing", home() / "attached"


def every() -> list[Attached]:
    """All there are, by name."""
    found = []
    for engine, place in _places():
        for path in place.iterdir() if place.is_dir() else ():
            if path.is_dir() and not path.name.startswith("."):
                found.append(_read(path.name, engine, path))
    return sorted(found, key=lambda each: each.name)


def attached(name: str) -> Attached | None:
    """The one of that name; raises InvalidNameError."""
    ClusterFolder(name)
    for engine, place in _places():
        if (place / name).is_dir():
            return _read(name, engine, place / name)
    return None


def _read(name: str, engine: EngineName, path: Path) -> Attached:
    try:
        facts = json.loads((path / FILE).read_text())
    except (OSError, ValueError):
        facts = {}
    return Attached(name, engine, path, facts if isinstance(facts, dict) else {})


def engine_of(name: str, asked: str | None) -> EngineName:
    """The engine of a cluster: its own, else the one that is asked for (see :func:`chosen`).

    Raises OptionError where a cluster of that name is another engine's.
    """
    from cove.engines.select import chosen

    found = attached(name)
    own: EngineName | None = found.engine if found is not None else None
    if own is None and ClusterFolder(name).exists:
        own = "embedded"
    which = chosen(asked, own or "embedded")
    if own is not None and which != own:
        raise OptionError(
            f'the cluster "{name}" is of the engine {own}, not {which}: choose another --name, or '
            f"remove it with `cove reset --name {name}`"
        )
    return which


# -- starting


async def start(name: str, engine: EngineName, given: Given, log: Callable[[str], None]) -> bool:
    """Have it run, and note it down; whether it ran before.

    ``log`` is told what it is started without, and why a container of it is made anew.
    """
    if engine == "k3s":
        return await _start_k3s(name, given, log)
    return await _attach(name, given, log)


async def _start_k3s(name: str, given: Given, log: Callable[[str], None]) -> bool:
    if given.context:
        raise OptionError("a context is one of an existing cluster: say --engine existing")
    found = attached(name)
    before = await _containers(found) if found is not None else []
    if found is not None and not found.facts and before:
        raise OptionError(
            f'the k3s cluster "{name}" is an application\'s: `cove up APP` starts it; choose '
            "another --name"
        )
    known = found.given if found is not None else Given()
    merged = replace(known, **given.said)
    cluster = _k3s(name, merged.options(), log)
    ran = bool(before) and all(each["State"] == "running" for each in before)
    folder = cluster.variants.folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Before anything of it is made: what a crash leaves is resumed by who asks again.
    facts = {**(found.facts if found is not None else {}), "given": merged.said}
    publish(folder / FILE, json.dumps(facts, indent=1))
    try:
        async with cluster:
            facts["addresses"] = dict(cluster.addresses)
            publish(folder / FILE, json.dumps(facts, indent=1))
    except BaseException:
        if found is None:
            shutil.rmtree(folder, ignore_errors=True)
        elif found.facts and folder.exists():
            publish(folder / FILE, json.dumps(dict(found.facts), indent=1))
        raise
    return ran


def _silent(line: str) -> None:
    """What nobody wants to be told."""


def _k3s(name: str, options: ClusterOptions, log: Callable[[str], None] = _silent) -> K3sCluster:
    from cove.engines.k3s import K3sCluster

    return K3sCluster(name, options, log=log)


async def _attach(name: str, given: Given, log: Callable[[str], None]) -> bool:
    from cove.engines.existing import ExistingCluster

    found = attached(name)
    said = given.said
    context = said.pop("context", None) or (found.given.context if found is not None else None)
    making = sorted(set(said) - {"container_engine"})
    if making:
        log(f"the cluster is there already: {', '.join(making)} are as they are there")
    async with ExistingCluster(name, ClusterOptions(context=context), log=log) as cluster:
        health = await cluster.health()
        if not health.healthy:
            log(f"the cluster of the context {cluster.context} is not well: {health.reason}")
        if found is not None and found.given.context not in (None, cluster.context):
            log(f"{name} was the context {found.given.context}, and is {cluster.context} now")
        folder = home() / "attached" / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        publish(folder / "kubeconfig.yaml", cluster.kubeconfig_path.read_text())
        facts = {"given": {"context": cluster.context}, "version": cluster.properties["version"]}
        publish(folder / FILE, json.dumps(facts, indent=1))
    return found is not None


# -- looking


async def state(found: Attached) -> tuple[str, str]:
    """(running, stopped or unknown; a word on it): of an existing cluster, whether it answers."""
    if found.engine == "existing":
        from cove.client import Client, kubeconfig
        from cove.engines.health import readyz

        try:
            async with Client.connect(kubeconfig.load(str(found.kubeconfig))) as client:
                health = await readyz(client)
        except CoveError as e:
            return "unknown", str(e)
        return ("running", "") if health.healthy else ("unknown", health.reason)
    try:
        containers = await _containers(found)
    except CoveError as e:
        return "unknown", str(e)
    running = [c for c in containers if c["State"] == "running"]
    if not running:
        return "stopped", "" if containers else "it has no containers"
    if len(running) < len(containers):
        ended = [c["Names"][0].lstrip("/") for c in containers if c not in running]
        return "running", f"{', '.join(ended)} ended"
    return "running", ""


def _engine(found: Attached) -> Engine:
    """What runs its containers: as it noted down, else as the environment says."""
    from cove.engines.door import engine_for
    from cove.node.docker import EngineAddress
    from cove.node.docker.connection import Engine

    file = found.path / "engine"
    if file.exists():
        return Engine(EngineAddress(file.read_text().strip(), str(file)))
    what = f"the k3s cluster {found.name}"
    return Engine(engine_for(found.given.container_engine, what))


async def _containers(found: Attached) -> list[Doc]:
    if not (found.path / "engine").exists():
        return []  # it never came so far
    async with _engine(found) as engine:
        return await engine.containers(_k3s(found.name, ClusterOptions()).label)


# -- ending


async def stop(found: Attached) -> bool:
    """Stop its containers, which stay with all they hold; whether any ran.

    An existing cluster is nobody's to stop: its name is forgotten.  Raises OptionError for a
    cluster that a session has.
    """
    if found.engine == "existing":
        shutil.rmtree(found.path)
        return True
    async with _engine(found) as engine:
        running = await _ours(found, engine)
        for each in running:
            await engine.stop(each["Id"], GRACE)
    return bool(running)


async def _ours(found: Attached, engine: Engine) -> list[Doc]:
    """Its containers that run."""
    from cove.node.docker.labels import HOME, PID

    containers = await engine.containers(_k3s(found.name, ClusterOptions()).label)
    for each in containers:
        if not each["Labels"].get(HOME):
            raise OptionError(
                f'the k3s cluster "{found.name}" is of a session of process '
                f"{each['Labels'].get(PID)}, and ends with it"
            )
    # Agents first: they need not see their server go.
    containers.sort(key=lambda each: each["Names"][0].endswith("-server"))
    return [each for each in containers if each["State"] == "running"]


async def reset(found: Attached) -> None:
    """Remove everything of it: containers, network, objects, folder.

    Volumes that somebody named stay.
    """
    if found.engine == "k3s":
        cluster = _k3s(found.name, ClusterOptions())
        async with _engine(found) as engine:
            await _ours(found, engine)
            for each in await engine.containers(cluster.label):
                await engine.remove(each["Id"])
            await engine.remove_network(cluster.network)
            await engine.remove_volume(cluster.own_volume)
        shutil.rmtree(home() / "k3s-volumes" / cluster.own_volume, ignore_errors=True)
    shutil.rmtree(found.path, ignore_errors=True)
