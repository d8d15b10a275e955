"""Session: what one process of a test run owns — the loop, warm states, worlds of tests."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from cove.testing import current
from cove.testing.bridge import Bridge
from cove.testing.declarations import Environment
from cove.testing.kubernetes import Kubernetes
from cove.testing.place import Tape
from cove.testing.plugin.ends import Ends
from cove.testing.plugin.kept import Kept, keep
from cove.testing.timeline import Timeline
from cove.testing.warm import WarmCluster, warm_cluster
from cove.testing.world import Services, World, made_fake, run_setup

if TYPE_CHECKING:
    from cove.engines.snapshots import Snapshot
    from cove.testing.plugin.options import Options

__all__ = ["Session", "close_folder", "new_folder"]

# More kept clusters than this are in nobody's interest.
KEPT_AT_MOST = 3


@dataclass
class _Warmed:
    """An environment whose warm state was captured."""

    env: Environment
    clusters: dict[str, WarmCluster]
    # Services and fakes that run once.
    shared: dict[str, Any] = field(default_factory=dict)
    # Engines on which setup runs for every world, since nothing can be captured.
    setup_each: bool = False


class Session:
    """``folder`` is shared by all processes of the run."""

    def __init__(self, options: Options, folder: Path, worker: str) -> None:
        self.options = options
        self.folder = folder
        self.worker = worker
        self.timeline: Timeline | None = None
        self.world: World | None = None
        self._stack = ExitStack()
        self._bridge: Bridge | None = None
        self._warmed: dict[str, _Warmed] = {}
        # Why an environment's setup failed: it is not tried for every test again.
        self._failed: dict[str, BaseException] = {}
        self._worlds: dict[tuple[str, str], World] = {}
        self.ends = Ends(folder if worker else None)
        self._keep: list[Kept] = []
        self.kept: list[Kept] = []

    @property
    def bridge(self) -> Bridge:
        """The loop, started when it is first needed."""
        if self._bridge is None:
            self._bridge = self._stack.enter_context(Bridge())
        return self._bridge

    def close(self) -> None:
        """End everything there is, in reverse order."""
        with ExitStack() as stack:
            stack.callback(self._stack.close)
            for warmed in self._warmed.values():
                for cluster in warmed.clusters.values():
                    stack.callback(self._closed, cluster)
            for world in self._worlds.values():
                # As any other one: what is to be kept of it is kept.
                stack.callback(self._end, world)
            self._worlds.clear()
            self._warmed = {}

    def _closed(self, cluster: WarmCluster) -> None:
        self.bridge.call(cluster.close())

    # -- warm states

    def warmed(self, env: Environment) -> _Warmed:
        """The environment, warm; the first who asks waits for its setup."""
        known = self._warmed.get(env.key)
        if known is not None:
            return known
        if env.key in self._failed:
            raise self._failed[env.key]
        try:
            made = self._warm(env)
        except Exception as e:
            self._failed[env.key] = e
            raise
        self._warmed[env.key] = made
        return made

    def _warm(self, env: Environment) -> _Warmed:
        bridge = self.bridge
        clusters = {
            name: warm_cluster(
                name,
                declared,
                prefix=self._prefix(env),
                engine=self.options.engine,
                context=self.options.context,
                bridge=bridge,
                folder=self.folder,
                root=env.root,
            )
            for name, declared in env.clusters.items()
        }
        each = not all(cluster.captures for cluster in clusters.values())
        warmed = _Warmed(env, clusters, setup_each=each)
        try:
            self._services(warmed)
            portable = all(cluster.portable for cluster in clusters.values())
            with self._only_one(env, portable) as saved:
                if saved is not None and (saved / "done").exists():
                    for cluster in clusters.values():
                        bridge.call(cluster.load(saved))
                else:
                    self._build(warmed)
                    if saved is not None:
                        for cluster in clusters.values():
                            bridge.call(cluster.save(saved))
                        (saved / "done").touch()
        except BaseException:
            for cluster in clusters.values():
                bridge.call(cluster.close())
            raise
        return warmed

    def _prefix(self, env: Environment) -> str:
        worker = f"-{self.worker}" if self.worker else ""
        return f"test-{env.name}{worker}-{os.getpid()}"

    @contextmanager
    def _only_one(self, env: Environment, portable: bool) -> Iterator[Path | None]:
        """The folder for the warm state, locked; None where it is not to be shared."""
        if not self.worker or not portable:
            yield None
            return
        folder = self.folder / "warm" / orjson.dumps(env.key).hex()[-60:]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield folder
        finally:
            os.close(descriptor)

    def _build(self, warmed: _Warmed) -> None:
        env, bridge = warmed.env, self.bridge
        tape = Tape(Timeline(f"setup of {env.type.__name__}"))
        for cluster in warmed.clusters.values():
            bridge.call(cluster.open())
        places = {name: cluster.place(tape) for name, cluster in warmed.clusters.items()}
        bridge.call(self._releases(env, places))
        instance = env.type()
        for name, value in warmed.shared.items():
            setattr(instance, name, value)
        for name, place in places.items():
            setattr(instance, name, Kubernetes(place))
        for method in ("setup_cluster", *(() if warmed.setup_each else ("setup",))):
            if hasattr(instance, method):
                run_setup(getattr(instance, method))
        for cluster in warmed.clusters.values():
            bridge.call(cluster.capture())

    async def _releases(self, env: Environment, places: Any) -> None:
        """Releases and manifests of the environment: they stay when their application ends."""
        async with Services(env, env.services(warm=True), places):
            pass

    def _services(self, warmed: _Warmed) -> None:
        """What runs once, for as long as the session."""
        env, bridge = warmed.env, self.bridge
        services = env.services()
        if services:
            from cove.testing.world import Running

            running = Services(env, services, {})
            bridge.call(running.__aenter__())
            self._stack.callback(lambda: bridge.call(running.__aexit__(None, None, None)))
            assert running.host is not None, "there are services"
            for name in services:
                warmed.shared[name] = Running(name, running.host, bridge)
        for name, fake in env.fakes("session").items():
            warmed.shared[name] = made_fake(fake, env.type(), bridge, self._stack)

    # -- worlds

    def enter(self, env: Environment, scope: str, start: dict[str, Snapshot] | None) -> World:
        """The world of a scope (a test's node id, or that of a class, module or session)."""
        key = (env.key, scope)
        world = self._worlds.get(key)
        if world is None:
            warmed = self.warmed(env)
            if env.key in self._failed:
                raise self._failed[env.key]
            world = World(env, self.bridge, warmed.clusters, warmed.shared, start=start)
            world.tape.put(self.timeline)
            world.__enter__()
            self._worlds[key] = world
            if warmed.setup_each and hasattr(env.type, "setup"):
                try:
                    run_setup(world.instance.setup)
                except BaseException as e:
                    if isinstance(e, Exception):
                        self._failed[env.key] = e
                    self.leave(env, scope)
                    raise
        if world.tape.now is not self.timeline:
            world.tape.put(self.timeline)
        self._is_now(world)
        return world

    def _is_now(self, world: World | None) -> None:
        self.world = world
        current.put(world)

    def leave(self, env: Environment, scope: str) -> None:
        """End the world of a scope, if there is one."""
        world = self._worlds.pop((env.key, scope), None)
        if world is not None:
            self._end(world)

    def leave_all_but(self, scopes: set[str]) -> None:
        """End the worlds of all other scopes."""
        for env, scope in list(self._worlds):
            if scope not in scopes:
                self._end(self._worlds.pop((env, scope)))

    def _end(self, world: World) -> None:
        if self.world is world:
            self._is_now(None)
        try:
            world.close()
        finally:
            waiting, self._keep = self._keep, []
            for kept in waiting:
                self.kept.append(keep(kept))

    # -- what is left of tests

    def remember_end(self, nodeid: str, passed: bool) -> None:
        """Keep the state a test ended in, for those that start from it."""
        world = self.world
        if not passed or world is None:
            self.ends.put(nodeid, None)
            return
        end = {
            name: self.bridge.do(place.running.snapshot)
            for name, place in world.places.items()
            if place.running is not None
        }
        self.ends.put(nodeid, end)

    def keep_world(self, timeline: Timeline) -> list[str]:
        """Have the clusters of a test that failed stay; how to enter them, a line each."""
        world = self.world
        if world is None or len(self.kept) + len(self._keep) >= KEPT_AT_MOST:
            return []
        lines = []
        for place in world.places.values():
            kept = Kept.of(place, timeline.name)
            self._keep.append(kept)
            lines.append(kept.how)
        timeline.kept = "\n".join(lines)
        return lines


def new_folder() -> Path:
    """A folder for a run; those of runs that crashed are removed.  See :func:`close_folder`."""
    parent = Path(tempfile.gettempdir()) / f"cove-testing-{os.getuid()}"
    parent.mkdir(mode=0o700, exist_ok=True)
    if parent.stat().st_uid != os.getuid():
        return Path(tempfile.mkdtemp(prefix="cove-testing-"))
    for other in parent.iterdir():
        _reap(other)
    folder = Path(tempfile.mkdtemp(dir=parent))
    descriptor = os.open(folder / "alive", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    _alive[folder] = descriptor
    return folder


_alive: dict[Path, int] = {}


def close_folder(folder: Path) -> None:
    """Remove a folder of :func:`new_folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    descriptor = _alive.pop(folder, None)
    if descriptor is not None:
        os.close(descriptor)


def _reap(folder: Path) -> None:
    """Remove the folder of a run that nobody has any more."""
    with suppress(OSError):
        descriptor = os.open(folder / "alive", os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)
