"""K3sCluster: the containers of a k3s cluster, from the first to the last of them.

::

    $COVE_HOME/k3s/NAME/           0700; see cove.engines.variants
        cluster/ local/ container/
        registries.yaml            mirrors, mounted read-only
        engine                     the address of what runs its containers
        ca.crt ca.key              of domains' certificates
        token  nodes/              of a cluster that outlives its containers
    $COVE_HOME/k3s/.NAME.lock      held while the cluster is used, by a session alone
    $COVE_HOME/k3s/.NAME.starting  held by who starts it
    $COVE_HOME/k3s-volumes/VOLUME/ token and nodes/ that belong to a data volume

A session's containers are labelled with its process, those that persist with the state
folder: what a crash left is removed by the next start, by whichever of these is gone.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cove.client import SystemClock
from cove.engines._work import finished, together
from cove.engines.cluster import Cluster, ClusterOptions, EngineName, Health, OptionError
from cove.engines.door import engine_for
from cove.engines.home import ClusterFolder, home
from cove.engines.k3s import addons, beside, entrypoint, images, machine, spec
from cove.engines.k3s.ends import Ends
from cove.engines.k3s.errors import K3sError
from cove.engines.k3s.locks import Locked
from cove.engines.k3s.looking import Looking
from cove.engines.k3s.registries import REGISTRY, alias, registries
from cove.engines.variants import Variants, publish
from cove.kube.status import CoveError
from cove.node.docker.labels import CLUSTER, HOME, INSTANCE, PID, VOLUME

if TYPE_CHECKING:
    from cove.client import Client, Clock
    from cove.node.docker.connection import Engine
    from cove.pki.authority import Authority

__all__ = ["K3sCluster", "K3sError"]

Doc = dict[str, Any]
# Seconds from one look at a cluster that starts to the next.
POLL = 0.1
# Seconds that a server with a data volume has to end by itself.
GRACE = 10


class K3sCluster(Cluster):
    """A k3s server and its agents; see the module and :class:`Cluster`.

    Entering raises EngineError without a container engine, K3sError with the last words of a
    container that ended.  Nothing of a cluster that did not start is left, except for the
    data volume.
    """

    engine: EngineName = "k3s"

    def __init__(
        self,
        name: str,
        options: ClusterOptions,
        *,
        log: Callable[[str], None],
        clock: Clock | None = None,
    ) -> None:
        ClusterFolder(name)  # raises InvalidNameError: the same names for every engine
        spec.check(options)
        if options.data_volume and not spec.VOLUME.fullmatch(options.data_volume):
            raise OptionError(
                f'data_volume "{options.data_volume}" is no name of a volume: use letters, '
                "digits, _ . -"
            )
        self.name = name
        self.options = options
        folder = home() / self.engine / name
        self.variants = Variants(folder)
        self._key = sha256(str(folder).encode()).hexdigest()[:8]
        # The network's name, and what every name of a container begins with.
        self.network = f"cove-{name}-{self._key}"
        self._log = log
        self._clock: Clock = clock or SystemClock()
        self._keep = options.lifetime == "persistent"
        self._stack = AsyncExitStack()
        self._engine: Engine | None = None
        self._place: spec.Place | None = None
        self._port = 0
        # Where this machine has the server's ports; its address in the cluster's network.
        self._ports: dict[int, int] = {}
        self._address = ""
        self._authority: Authority | None = None
        self._server = ""
        self._ends = Ends(lambda: self._here, name, log)
        self._made: list[str] = []
        self._looking = Looking(self.variants)
        self._deadline = 0.0

    # -- what it gives

    @property
    def url(self) -> str:
        """``https://127.0.0.1:PORT``."""
        return f"https://127.0.0.1:{self._port}"

    @property
    def client(self) -> Client:
        """An administrator's client; another one when k3s has written new credentials."""
        return self._looking.client

    @property
    def kubeconfig_path(self) -> Path:
        """The variant for this machine."""
        return self.variants.local

    async def container_kubeconfig(self, network: str) -> Path:
        """See :class:`Cluster`; good in the cluster's own network."""
        return self.variants.container.parent

    @property
    def container_networks(self) -> tuple[str, ...]:
        """The cluster's own."""
        return (self.network,)

    @property
    def addresses(self) -> Mapping[str, str]:
        """See :class:`Cluster`; the registry's own name, too."""
        places = {"http": 80, "https": 443, "registry": REGISTRY}
        found = {
            what: f"127.0.0.1:{self._ports[port]}"
            for what, port in places.items()
            if self._ports.get(port)
        }
        if not (addons.serves_ingress(self.options) and self._authority):
            found.pop("https", None)
        if "registry" in found:
            # As engines on this machine believe it without TLS.
            found["registry"] = found["registry"].replace("127.0.0.1", "localhost")
            found["registry_name"] = f"{alias(self.name)}:{REGISTRY}"
        return found

    @property
    def authority(self) -> str:
        """Who signed what hosts of the domains show, PEM; "" without HTTPS."""
        return self._authority.certificate.decode() if self._authority is not None else ""

    async def register_host(self, host: str) -> None:
        """Have one more name, and all below it, lead to the cluster in its pods."""
        await beside.register(self.client, host, self._address)

    @property
    def properties(self) -> Mapping[str, str]:
        """Engine, image, where it runs, what it keeps."""
        found = {
            "engine": self.engine,
            "image": spec.image(self.options, "server"),
            "containers": f"{self.network}* in {self._engine.address}" if self._engine else "",
            "privileged": "yes",
            "folder": str(self.variants.folder),
        }
        if self._place is not None and self._place.volume:
            found["data_volume"] = self._place.volume
        return found

    async def health(self) -> Health:
        """Look now: containers, kubeconfig, nodes."""
        from cove.node.docker.connection import DockerError

        try:
            async with self._looking.lock:
                if await self._ends.revive(self._server):
                    # The engine may have given it another port.
                    await self._find_port()
            return await self._look()
        except (CoveError, DockerError) as e:
            return Health(False, str(e))

    async def load(self, image: str) -> None:
        """See :class:`Cluster`: imported into the containerd of each node."""
        nodes = [str(node["Id"]) for node in await self._here.containers(self.label)]
        await images.load(self._here, nodes, [image], self._log)

    def discard(self) -> None:
        """Have leaving remove it, although it is persistent."""
        self._keep = False

    # -- entering and leaving

    async def __aenter__(self) -> Self:
        """Start it, or take it as it is; see the class."""
        from cove.node.docker.connection import DockerError

        try:
            async with AsyncExitStack() as stack:
                await self._enter(stack)
                self._stack = stack.pop_all()
        except DockerError as e:
            raise K3sError(f"the k3s cluster {self.name} cannot be made: {e}") from e
        return self

    async def _enter(self, stack: AsyncExitStack) -> None:
        from cove.node.docker.connection import Engine
        from cove.node.docker.reaper import reap

        starting = await self._lock(stack)
        what = f"the k3s cluster {self.name}"
        address = await finished(engine_for, self.options.container_engine, what)
        self._engine = await stack.enter_async_context(Engine(address))
        for sentence in machine.obstacles(
            self._engine.info,
            self._engine.kind,
            spec.image(self.options, "server"),
            self.options.extra_args,
        ):
            self._log(sentence)
        await reap(self._engine)
        await self._refuse_to_end_what_lasts()
        stack.push_async_callback(self._close)
        fresh = not self.variants.folder.exists()
        try:
            self._place = await finished(self._make_folder)
            await self._have_images()
            await self._start()
            await self._until_ready()
            await self._equip()
        except BaseException:
            await self._give_up(fresh)
            raise
        starting.close()

    async def __aexit__(self, *exc: object) -> None:
        try:
            if not self._keep:
                await self._remove()
        finally:
            await self._stack.aclose()

    async def _close(self) -> None:
        await self._ends.close()
        await self._looking.close()

    async def _lock(self, stack: AsyncExitStack) -> Locked:
        """Hold the cluster's locks; the one of starting."""
        folder = self.variants.folder
        await asyncio.to_thread(folder.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
        starting = stack.enter_context(Locked(folder.parent / f".{self.name}.starting"))
        while not starting.acquire(fcntl.LOCK_EX):
            await self._clock.sleep(POLL)
        use = stack.enter_context(Locked(folder.parent / f".{self.name}.lock"))
        if not use.acquire(fcntl.LOCK_SH if self._keep else fcntl.LOCK_EX):
            raise OptionError(
                f'the k3s cluster "{self.name}" is in use by another session: choose another '
                "name, or lifetime persistent in both"
            )
        return starting

    async def _refuse_to_end_what_lasts(self) -> None:
        """A session ends what it has, which is not for a persistent cluster."""
        if self._keep:
            return
        found = await self._here.containers(self.label)
        lasting = [_name(each) for each in found if each["Labels"].get(HOME)]
        if lasting:
            raise OptionError(
                f'the k3s cluster "{self.name}" is a persistent one: use it with lifetime '
                f"persistent, or remove it: `{self._here.kind} rm -fv {' '.join(lasting)}`"
            )

    def _make_folder(self) -> spec.Place:
        """Everything that is mounted is there before any container is."""
        self.variants.prepare()
        options, folder = self.options, self.variants.folder
        volume, kept = "", folder if self._keep else None
        if options.data_volume is not None:
            volume = options.data_volume or self.own_volume
            kept = home() / "k3s-volumes" / volume
            kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        nodes = None
        if kept is not None:
            nodes = kept / "nodes"
            agents = (spec.agent_name(self.name, i) for i in range(options.agents))
            for node in (self.name, *agents):
                (nodes / node).mkdir(mode=0o700, parents=True, exist_ok=True)
        if text := registries(self.name, options):
            publish(folder / "registries.yaml", text)
        self._authority = self._find_authority()
        # Who looks for its containers later may have another environment.
        publish(folder / "engine", f"{self._here.address.url}\n")
        return spec.Place(
            network=self.network,
            token=_token(kept),
            folder=folder,
            nodes=nodes,
            volume=volume,
            https=self._authority is not None,
        )

    def _find_authority(self) -> Authority | None:
        """Who signs the domains' certificate, where there is one to be had."""
        options = self.options
        if not options.domains or not addons.serves_ingress(options):
            return None
        given = options.k3s.authority
        found = beside.authority_in(given or self.variants.folder, make=given is None)
        if found is None:
            self._log(
                f"{given} holds no ca.crt and ca.key: {', '.join(options.domains)} are served "
                "over HTTP only"
            )
        return found

    async def _have_images(self) -> None:
        """Every image that containers are made of, fetched if it is missing."""
        roles = ("server", "agent") if self.options.agents else ("server",)
        for image in dict.fromkeys(spec.image(self.options, role) for role in roles):
            await images.have(self._here, image, self._log)

    @property
    def _here(self) -> Engine:
        assert self._engine is not None, "the cluster was not entered"
        return self._engine

    # -- containers

    @property
    def own_volume(self) -> str:
        """The data volume that nobody named."""
        return f"{self.network}-data"

    @property
    def label(self) -> Mapping[str, str]:
        """What everything of it in the engine is labelled with."""
        return {CLUSTER: f"{self.name}-{self._key}"}

    @property
    def _labels(self) -> dict[str, str]:
        return {
            **self.label,
            INSTANCE: self._key,
            PID: str(os.getpid()),
            HOME: str(self.variants.folder) if self._keep else "",
        }

    def _wanted(self) -> dict[str, Doc]:
        """The containers there are to be, by name; the server is the first."""
        assert self._place is not None
        labels, place = self._labels, self._place
        wanted = {f"{self.network}-server": spec.server(self.name, self.options, place, labels)}
        for i in range(self.options.agents):
            config = spec.agent(self.name, i, self.options, place, labels)
            wanted[f"{self.network}-agent-{i}"] = config
        return wanted

    async def _start(self) -> None:
        """All containers run, those that ran already too; the server's port is known."""
        assert self._place is not None
        wanted = self._wanted()
        self._server = next(iter(wanted))
        if self.options.domains and not addons.serves_ingress(self.options):
            self._log(f"domains {', '.join(self.options.domains)}: ingress is disabled")
        running = await self._adopt(wanted)
        await self._make_network()
        if self._place.volume:
            await self._here.keep_volume(self._place.volume, {VOLUME: self.name})
        # Nobody waits for the server: agents ask until it is there.
        await together(
            *(
                self._bring(name, config, running.get(name), follow=name == self._server)
                for name, config in wanted.items()
            )
        )
        await self._find_port()

    async def _adopt(self, wanted: Mapping[str, Doc]) -> dict[str, Doc]:
        """Containers of before that are as they should be, by name; the others make way."""
        found = {_name(e): e for e in await self._here.containers(self.label)}
        fit, going = {}, []
        reasons = self._misfits(found, wanted)
        for name, each in found.items():
            if name in reasons:
                going.append(each)
            else:
                fit[name] = each
        if self._server in found and self._server in reasons:
            # Its agents know it by a certificate that it may not have any more.
            going, fit = list(found.values()), {}
            lost = "" if self._place and self._place.volume else ", without its objects"
            self._log(f"the server of {self.name} is made anew{lost}: {reasons[self._server]}")
        else:
            for name in reasons:
                self._log(f"{name} is removed: {reasons[name]}")
        await self._remove_containers(going)
        return fit

    def _misfits(self, found: Mapping[str, Doc], wanted: Mapping[str, Doc]) -> dict[str, str]:
        """Which containers cannot stay, and why."""
        reasons = {}
        for name, each in found.items():
            labels = each["Labels"]
            if name not in wanted:
                reasons[name] = f"there are to be {self.options.agents} agents"
            elif not labels.get(HOME):
                reasons[name] = "it is of a session that is gone"
            elif each["State"] in ("created", "dead", "removing"):
                reasons[name] = "it never started"
            elif changed := spec.differences(labels, wanted[name]["Labels"]):
                reasons[name] = "; ".join(changed)
        return reasons

    async def _bring(self, name: str, config: Doc, found: Doc | None, *, follow: bool) -> None:
        """Have a container run, and be told of its end."""
        from cove.node.docker.connection import DockerError

        engine = self._here
        try:
            if found is None:
                self._made.append(name)
                id = await engine.create(name, config)
                await engine.put(id, self._files(name))
            else:
                id = str(found["Id"])
            if found is None or found["State"] != "running":
                await engine.start(id)
        except DockerError as e:
            raise K3sError(self._no_start(name, str(e))) from e
        self._ends.watch(name, id, follow=follow, from_now=found is not None)

    def _no_start(self, name: str, why: str) -> str:
        text = f"the container {name} does not start: {why}"
        if "port is already allocated" in why or "address already in use" in why:
            fixed = [f"k3s ports {i} ({o})" for i, o in self.options.k3s.ports.items() if o]
            if self.options.api_port:
                fixed.insert(0, f"api_port ({self.options.api_port})")
            return f"{text}; choose another {' or '.join(fixed)}, or 0 for any free one"
        return f"{text}{machine.advice(why)}"

    def _files(self, container: str) -> bytes:
        """What a container is given before it starts."""
        if container != self._server:
            return entrypoint.archive()
        assert self._place is not None
        files = addons.files if self._place.volume else addons.manifests
        return entrypoint.archive(files(self.name, self.options, https=self._place.https))

    async def _find_port(self) -> None:
        """Where the server is: as this machine has it, and as its network does."""
        found = (await self._here.inspect(self._server) or {}).get("NetworkSettings") or {}
        for inside, bound in (found.get("Ports") or {}).items():
            for each in bound or ():
                if each.get("HostPort"):
                    self._ports[int(inside.partition("/")[0])] = int(each["HostPort"])
        self._port = self._ports.get(spec.PORT, 0)
        network = (found.get("Networks") or {}).get(self.network) or {}
        self._address = str(network.get("IPAddress") or "")

    async def _make_network(self) -> None:
        if any(n["Name"] == self.network for n in await self._here.networks(self.label)):
            return
        await self._here.create_network(
            {
                "Name": self.network,
                "CheckDuplicate": True,
                "Driver": "bridge",
                "Labels": self._labels,
            }
        )

    # -- readiness

    async def _until_ready(self) -> None:
        """Return when the API answers with all nodes ready, raise when a container has ended."""
        patience = self.options.k3s.ready_timeout
        self._deadline = deadline = self._clock.monotonic() + patience
        said = ""
        while True:
            health = await self._look()
            if health.healthy:
                return
            if self._ends.told:
                raise K3sError("\n".join(self._ends.told.values()))
            if self._clock.monotonic() >= deadline:
                words = await self._ends.last_words(self._server)
                raise K3sError(
                    f"the cluster {self.name} is not ready after {patience:g} s: "
                    f"{health.reason}; the server's log ends with\n{words}"
                )
            if health.reason != said:
                said = health.reason
                self._log(f"{self.name} is starting: {said}")
            await self._pause()

    async def _equip(self) -> None:
        """Names, certificate and images; what k3s deploys for cove runs."""
        options = self.options
        if options.k3s.load:
            await images.load(self._here, self._wanted(), options.k3s.load, self._log)
        wanted = beside.deployments(options)
        if not wanted:
            return None
        await beside.equip(
            self.client,
            self.name,
            options,
            address=self._address,
            port=self._ports.get(REGISTRY, 0),
            authority=self._authority,
        )
        waiting = asyncio.ensure_future(beside.rolled_out(self.client, wanted, self._clock))
        ending = asyncio.ensure_future(self._ends.any.wait())
        late = asyncio.ensure_future(
            self._clock.sleep(max(0.0, self._deadline - self._clock.monotonic()))
        )
        every = (waiting, ending, late)
        try:
            await asyncio.wait(every, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
            if self._ends.told:
                raise K3sError("\n".join(self._ends.told.values()))
            told = await beside.words(self.client, wanted)
            raise K3sError(
                f"what the cluster {self.name} runs for cove is not ready after "
                f"{options.k3s.ready_timeout:g} s:\n{told}"
            )
        finally:
            for each in every:
                each.cancel()
            await asyncio.gather(*every, return_exceptions=True)

    async def _pause(self) -> None:
        """Until it is time to look again, or a container has ended."""
        waits = [
            asyncio.ensure_future(self._clock.sleep(POLL)),
            asyncio.ensure_future(self._ends.any.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _look(self) -> Health:
        """One look, without a command run in a container: the file, the variants, the nodes."""
        if self._ends.told:
            return Health(False, "\n".join(self._ends.told.values()))
        return await self._looking.look(
            local=self.url,
            container=f"https://{self.name}:{spec.PORT}",
            nodes=1 + self.options.agents,
        )

    # -- removing

    async def destroy(self) -> None:
        """Remove its containers, network and folder, without starting it; none is fine."""
        from cove.node.docker.connection import Engine

        address = engine_for(self.options.container_engine, f"the cluster {self.name} is not ended")
        async with Engine(address) as engine:
            self._engine = engine
            try:
                await self._remove()
            finally:
                self._engine = None

    async def _give_up(self, fresh: bool) -> None:
        """Remove what was made for a cluster that did not start."""
        await self._ends.close()
        found = await self._here.containers(self.label)
        if self._keep and self._server not in self._made:
            # It ran before, and does now: it only was to have more.
            found = [each for each in found if _name(each) in self._made]
            await self._remove_containers(found)
            if not fresh:
                return
        else:
            await self._remove_containers(found)
            await self._remove_network()
        if fresh or not self._keep:
            await self._remove_folder()

    async def _remove(self) -> None:
        """Containers, network, folder; the data volume stays."""
        await self._ends.close()
        await self._remove_containers(await self._here.containers(self.label))
        await self._remove_network()
        await self._remove_folder()

    async def _remove_folder(self) -> None:
        await asyncio.to_thread(shutil.rmtree, self.variants.folder, ignore_errors=True)

    async def _remove_containers(self, found: Any) -> None:
        """Remove them all; a server with a data volume is asked to end first."""
        engine = self._here

        async def remove(each: Doc) -> None:
            name = _name(each)
            if name == self._server and self._place is not None and self._place.volume:
                await engine.stop(each["Id"], GRACE)
            await engine.remove(each["Id"])

        await together(*(remove(each) for each in found))

    async def _remove_network(self) -> None:
        """Once nobody is on it any more: a container that is being removed holds it."""
        from cove.node.docker.connection import DockerError

        for attempt in range(50):
            try:
                await self._here.remove_network(self.network)
                return
            except DockerError as e:
                if attempt == 49:
                    self._log(f"the network {self.network} is left: {e}")
            await asyncio.sleep(0.1)


def _name(container: Doc) -> str:
    return str(container["Names"][0]).lstrip("/")


def _token(kept: Path | None) -> str:
    """What agents join with: kept as long as the server's data, which remembers it."""
    if kept is None:
        return secrets.token_hex(24)
    file = kept / "token"
    with suppress(FileNotFoundError):
        return file.read_text().strip()
    token = secrets.token_hex(24)
    publish(file, f"{token}\n")
    return token
