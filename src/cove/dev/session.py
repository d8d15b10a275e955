"""Session: a cluster that is up, its registry, and what builds and deploys, for one plan.

Entering starts what does not run and takes what does; leaving lets it run on.  Every
command of the loop is a session.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cove.dev.artifacts import Builder, Round
from cove.dev.deploy import Deployed, Deployer, settled
from cove.dev.errors import ConfigurationError, DeployError, DevError
from cove.dev.plan import Deploy, Plan
from cove.dev.registry import RegistryAddress, hosted
from cove.dev.settle import container_engine
from cove.dev.state import Facts, State
from cove.engines.variants import publish

if TYPE_CHECKING:
    from cove.client import Client, Clock
    from cove.engines.cluster import Cluster
    from cove.host.images import Built
    from cove.node.docker import EngineAddress
    from cove.node.docker.connection import Engine

__all__ = ["REGISTRY", "Options", "Session", "opened"]

Say = Callable[[str, str], None]

# Where images are pushed to, of clusters that do not say so themselves.
REGISTRY = "COVE_DEV_REGISTRY"
# Where everybody expects a registry on this machine.
EXPECTED = 5000
# Its port in the containers of k3s.
REGISTRY_INSIDE = 5000
# Seconds between two looks at a cluster that starts, and those until it is given up.
LOOK, PATIENCE = 0.1, 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What a command was told.  None leaves it to the plan and the environment."""

    engine: str | None = None
    container_engine: str | None = None
    context: str | None = None
    registry: str | None = None


def opened(
    plan: Plan, options: Options, address: EngineAddress | None, log: Callable[[str], None]
) -> Cluster:
    """The plan's cluster, not entered yet; raises OptionError."""
    from cove.engines.select import chosen, open_cluster

    declared = plan.cluster.options
    native = declared.k3s.native
    engine = options.engine or ("existing" if options.context else plan.cluster.engine)
    wanted = replace(
        declared,
        # The program k3s of this machine ends with who started it.
        lifetime="session" if native else "persistent",
        container_engine=address.url if address is not None else "none",
        context=options.context or declared.context,
        registry_port=declared.registry_port or EXPECTED,
        # One that exists would tell that it is not asked for that.
        k3s=declared.k3s
        if native or chosen(engine) == "existing"
        else replace(
            declared.k3s,
            registry=True,
            # Of a container that runs the port cannot be changed: one that was not asked for is any.
            ports={REGISTRY_INSIDE: declared.registry_port, **declared.k3s.ports},
        ),
    )
    return open_cluster(plan.cluster.name, wanted, engine=engine, log=log)


class Session:
    """``async with Session(plan, options, say=…) as session``; see the module.

    ``say(name, line)`` is told what happens.  Raises CoveError with the reason, nothing of
    this session running then.
    """

    def __init__(
        self, plan: Plan, options: Options, *, say: Say, clock: Clock | None = None
    ) -> None:
        self.plan = plan
        self.options = options
        self.say = say
        self.clock = clock
        self.state = State(plan.cluster.name)
        self.address: EngineAddress | None = None
        self.registry: RegistryAddress | None = None
        self.built: dict[str, Built] = {}
        self.deployed: dict[str, Deployed] = {}
        self._cluster: Cluster | None = None
        # Whether it was entered: only then is the context it has known.
        self._known = False
        self._builder: Builder | None = None
        self._deployer: Deployer | None = None
        self._stack = AsyncExitStack()

    @property
    def cluster(self) -> Cluster:
        """The cluster, up."""
        assert self._cluster is not None, "the session was not entered"
        return self._cluster

    @property
    def client(self) -> Client:
        """Its administrator's client."""
        return self.cluster.client

    @property
    def builder(self) -> Builder:
        """What builds images; raises DevError where nothing can."""
        if self._builder is None:
            raise DevError(
                "images cannot be built: there is no container engine, or cove was told to use "
                "none (`cove doctor` says which); start Docker or Podman, or name one with "
                "--container-engine"
            )
        return self._builder

    @property
    def deployer(self) -> Deployer:
        """What deploys."""
        assert self._deployer is not None, "the session was not entered"
        return self._deployer

    # -- its life

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._enter(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def _enter(self, stack: AsyncExitStack) -> None:
        for remark in self.plan.remarks:
            self._log(remark)
        # Settled and exported before anything is started: what is started finds the same.
        self.address = container_engine(self.options.container_engine)
        self._cluster = opened(self.plan, self.options, self.address, self._log_cluster)
        self._write()
        await stack.enter_async_context(self._cluster)
        self._known = True
        await self._healthy()
        if self._cluster.engine == "existing":
            publish(self.state.kubeconfig, self._cluster.kubeconfig_path.read_text())
        self._write()
        names = {a.name: a.name for a in self.plan.artifacts}
        names |= {also: a.name for a in self.plan.artifacts for also in a.also}
        self._deployer = Deployer(
            self.client, self.cluster.kubeconfig_path, names, say=self.say, clock=self.clock
        )
        if self.plan.artifacts:
            await self._prepare_builds(stack)

    def _log(self, text: str) -> None:
        for line in text.splitlines():
            self.say("cove", line)

    def _log_cluster(self, text: str) -> None:
        # That it runs is what every command but the first finds.
        if "is running already" not in text:
            self._log(text)

    async def _healthy(self) -> None:
        told = ""
        try:
            async with asyncio.timeout(PATIENCE):
                while not (health := await self.cluster.health()).healthy:
                    if health.reason != told:
                        told = health.reason
                        self.say("cove", f"waiting for the cluster: {told}")
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            raise DevError(f"the cluster {self.cluster.name} is not ready: {told}") from None

    async def _prepare_builds(self, stack: AsyncExitStack) -> None:
        from cove.node.docker import EngineError
        from cove.node.docker.connection import Engine

        if self.address is None:
            return
        try:
            engine: Engine = await stack.enter_async_context(Engine(self.address))
        except EngineError as e:
            raise DevError(str(e)) from e
        self.registry = await self._registry()
        if self.registry is None and self.cluster.engine == "existing":
            raise ConfigurationError(
                f"the cluster of the context {self.cluster.properties.get('context', '')} names no "
                "registry (kube-public/local-registry-hosting): say where images go with "
                f"--registry HOST/PATH or {REGISTRY}"
            )
        self._builder = Builder(
            self.plan,
            engine,
            self.registry,
            cluster=self.plan.cluster.name,
            say=self.say,
            load=self.cluster.load if self.registry is None else None,
        )

    async def _registry(self) -> RegistryAddress | None:
        for name, source in (
            (self.options.registry, "--registry"),
            (os.environ.get(REGISTRY), REGISTRY),
        ):
            if name:
                host = name.rstrip("/")
                return RegistryAddress(host, host, source)
        found = await hosted(self.client)
        facts = self.cluster.properties
        if found is None and facts.get("registry"):
            pods = facts.get("registry_name") or facts["registry"]
            return RegistryAddress(facts["registry"], pods, "the cluster's own")
        return found

    # -- what is written down

    @property
    def kubeconfig(self) -> Path:
        """For programs, and for who goes on when this session has ended."""
        if self.cluster.engine == "existing":
            return self.state.kubeconfig
        return self.cluster.kubeconfig_path

    def _context(self) -> str:
        """The context of a cluster that exists; before that is known, the one it was asked for."""
        if self._known and self.cluster.engine == "existing":
            return self.cluster.properties.get("context", "")
        return self.options.context or self.plan.cluster.options.context or ""

    def _write(self) -> None:
        """Have `cove dev down` find it."""
        before = self.state.read()
        releases = dict.fromkeys(before.releases)
        things = dict.fromkeys(before.things)
        for deployed in self.deployed.values():
            if deployed.release is not None:
                releases[deployed.release] = None
            things.update(dict.fromkeys(deployed.things))
        self.state.write(
            Facts(
                cluster=self.plan.cluster.name,
                engine=self._cluster.engine if self._cluster is not None else "",
                context=self._context(),
                container_engine=self.address.url if self.address is not None else "",
                root=str(self.plan.root),
                releases=list(releases),
                things=list(things),
            )
        )

    def forget(self, deployed: Sequence[Deployed]) -> None:
        """Take what was removed out of the notes."""
        facts = self.state.read()
        releases = {d.release for d in deployed}
        things = {t for d in deployed for t in d.things}
        self.state.write(
            replace(
                facts,
                releases=[r for r in facts.releases if r not in releases],
                things=[t for t in facts.things if t not in things],
            )
        )

    # -- what commands do

    async def make(self, names: Sequence[str] | None = None) -> Round:
        """Build and push; None is every image.  What is there is remembered."""
        wanted = [a.name for a in self.plan.artifacts] if names is None else list(names)
        if not wanted:
            return Round()
        made = await self.builder.make(wanted)
        for name, one in made.made.items():
            self.built[name] = one.image
        return made

    async def deploy(self, deploys: Sequence[Deploy] | None = None) -> list[Deployed]:
        """Deploy in order, with what was built; None is everything.  Raises CoveError."""
        done = []
        for deploy in self.plan.ordered() if deploys is None else deploys:
            if deploys is None and deploy.waits:
                before = [self.deployed[name] for name in deploy.after if name in self.deployed]
                await settled(
                    self.client,
                    [target for each in before for target in each.targets],
                    log=self._log,
                    clock=self.clock,
                )
            deployed = await self.deployer.deploy(deploy, self.built)
            self.deployed[deploy.name] = deployed
            self._write()
            done.append(deployed)
        return done

    async def take_away(self) -> None:
        """Remove what this session has deployed, the last first."""
        deployed = list(self.deployed.values())
        await self.deployer.remove(deployed)
        self.forget(deployed)
        self.deployed.clear()

    def images(self) -> Mapping[str, str]:
        """Reference → artifact of what was built last."""
        return {image.reference: name for name, image in self.built.items()}


def raise_failed(made: Round) -> None:
    """Raise DeployError with every image that could not be had."""
    if made.failed:
        raise DeployError("\n".join(str(e) for e in made.failed.values()))
