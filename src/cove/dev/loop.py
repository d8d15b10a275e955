"""Loop: round after round, from files that changed to pods that run them.

A round copies what can be copied, builds what cannot, deploys, and waits until it is ready.
What changes meanwhile is the next round's; a wait for pods that were overtaken ends early.
A round that fails is told and changes nothing of what runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from cove.dev.changes import Verdict, judge
from cove.dev.deploy import settled
from cove.dev.errors import DevError, PushError, SyncRefusedError
from cove.dev.files import Scan, Watcher
from cove.dev.forwards import Forwards
from cove.dev.logs import Logs
from cove.dev.plan import Deploy, HelmDeploy, ManifestDeploy, Plan
from cove.dev.pods import Listener, Pods
from cove.dev.session import Session
from cove.dev.sync import Syncer
from cove.host.rollout import Target
from cove.kube.status import CoveError

__all__ = ["Loop", "inputs"]

# Seconds until a push that failed is tried again by itself, doubled up to the last.
AGAIN, LATEST = 2.0, 30.0


def inputs(deploy: Deploy) -> list[Path]:
    """The files and folders that a deployment is made from."""
    if isinstance(deploy, HelmDeploy):
        chart = deploy.release.local
        files = [Path(file) for file in deploy.release.values_files]
        return [*([chart] if chart is not None else []), *files]
    assert isinstance(deploy, ManifestDeploy)
    found = list(deploy.paths)
    for pattern in deploy.patterns:
        found += deploy.root.glob(pattern)
    return found


class Loop:
    """``await Loop(session, …).run()`` until it is cancelled; the session is entered.

    ``show(name, line)`` gets the pods' logs, None shows none.  ``poll`` looks at files again
    and again.  ``rounds`` is told after each round how it went: "" or what failed.
    """

    def __init__(
        self,
        session: Session,
        *,
        show: Callable[[str, str], None] | None,
        poll: bool = False,
        rounds: Callable[[str], None] = lambda how: None,
    ) -> None:
        self._session = session
        self._show = show
        self._poll = poll
        self._rounds = rounds
        self._say = session.say
        self._scans: dict[str, Scan] = {}
        # Artifacts to be built in the next round whatever has changed, and why.
        self._again: dict[str, str] = {}
        # Artifacts whose last build failed: what is copied would be on top of an older one.
        self._stale: set[str] = set()
        self._poke = asyncio.Event()
        self._targets: dict[str, Sequence[Target]] = {}
        self._undeployed = True
        self._delay = AGAIN

    @property
    def _plan(self) -> Plan:
        return self._session.plan

    async def run(self) -> None:
        """Until cancelled; what it follows has ended then, what it deployed is still there."""
        session = self._session
        artifacts = {a.name: a for a in self._plan.artifacts}
        async with AsyncExitStack() as stack:
            # It watches before anything is looked at: nothing falls between.
            self._watcher = await stack.enter_async_context(self._make_watcher())
            self._syncer = await stack.enter_async_context(
                Syncer(session.client, artifacts, say=self._say, clock=session.clock)
            )
            listeners: list[Listener] = [self._syncer]
            if self._show is not None:
                logs = Logs(session.client, self._show, clock=session.clock)
                listeners.append(await stack.enter_async_context(logs))
            self._pods = await stack.enter_async_context(
                Pods(session.client, listeners, crashed=self._crashed, clock=session.clock)
            )
            await stack.enter_async_context(
                Forwards(session.client, self._plan.forwards, say=self._say, clock=session.clock)
            )
            for name in artifacts:
                self._scans[name] = Scan(session.builder.context(name))
                self._again[name] = "first"
            first = True
            while True:
                if not first:
                    await self._until_something()
                await self._round(self._watcher.take(), first=first)
                first = False

    def _make_watcher(self) -> Watcher:
        folders: list[Path] = []
        files: list[Path] = list(self._plan.source)
        for artifact in self._plan.artifacts:
            folders.append(artifact.context)
            files.append(artifact.context / artifact.dockerfile)
        for deploy in self._plan.deploys:
            for path in inputs(deploy):
                (folders if path.is_dir() else files).append(path)
        return Watcher(folders, files, poll=self._poll, say=lambda text: self._say("cove", text))

    def _crashed(self, artifact: str, text: str) -> None:
        """A container ended with an error: what was copied into it goes into the image."""
        self._say(artifact, text)
        if self._syncer.copied(artifact) and artifact not in self._again:
            self._again[artifact] = "a container with synced files has crashed"
            self._poke.set()

    async def _until_something(self, also: asyncio.Task[None] | None = None) -> None:
        """Return when files have changed, a build is wanted, or ``also`` is done."""
        tasks = {
            asyncio.create_task(self._watcher.changed.wait(), name="changes"),
            asyncio.create_task(self._poke.wait(), name="poke"),
        }
        waited: set[asyncio.Task[object]] = {*tasks, *([also] if also is not None else [])}
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # -- one round

    async def _round(self, paths: set[Path], *, first: bool) -> None:
        self._poke.clear()
        begun = time.monotonic()
        try:
            told = await self._work(paths, first=first)
        except CoveError as e:
            self._tell(str(e))
            self._rounds(str(e))
            return
        if told is None:
            return
        self._say("cove", f"{told} in {time.monotonic() - begun:.2f} s")
        self._rounds("")

    def _tell(self, text: str) -> None:
        for line in text.splitlines():
            self._say("cove", line)

    async def _work(self, paths: set[Path], *, first: bool) -> str | None:
        """Do what changes call for; what was done, None for nothing."""
        for file in paths.intersection(self._plan.source):
            self._say("cove", f"{file.name} has changed: start again to have what it says now")
        verdicts = await self._verdicts(paths, first=first)
        done: list[str] = []
        builds = dict(self._again)
        synced = {name: v for name, v in verdicts.items() if not v.build and name not in builds}
        builds |= {name: v.build for name, v in verdicts.items() if v.build and name not in builds}
        for name, verdict in synced.items():
            refused = await self._sync(name, verdict)
            if refused:
                self._say(name, f"{refused}: it is built instead")
                builds[name] = refused
            else:
                done.append(f"{name} synced")
        if builds:
            done += await self._build(builds)
        deploys = self._affected(paths, first=first, built=bool(builds))
        if deploys:
            await self._deploy(deploys)
        if builds or deploys or (self._targets and done):
            ready = await self._wait()
            if not ready:
                return None if not done else f"{', '.join(done)} (overtaken by the next change)"
            if builds or deploys:
                done.append("ready")
        return ", ".join(done) or None

    async def _verdicts(self, paths: set[Path], *, first: bool) -> dict[str, Verdict]:
        """What has changed of each artifact that paths are about."""
        found: dict[str, Verdict] = {}
        for name, scan in self._scans.items():
            artifact = self._plan.artifact(name)
            assert artifact is not None
            context = artifact.context.resolve()
            file = (context / artifact.dockerfile).resolve()
            if not first and not any(p == file or p.is_relative_to(context) for p in paths):
                continue
            changes = await asyncio.to_thread(scan.look)
            if file in paths and not file.is_relative_to(context):
                found[name] = Verdict({}, str(file.name))
            elif changes and name in self._stale:
                found[name] = Verdict({}, "the last build failed")
            elif changes and not first:
                text = await asyncio.to_thread(file.read_text, errors="replace")
                found[name] = judge(artifact, changes, text)
        return found

    async def _sync(self, name: str, verdict: Verdict) -> str:
        """Copy; "" or why that cannot be."""
        self._syncer.add(name, verdict.copies)
        try:
            copied = await self._syncer.settle(name)
        except SyncRefusedError as e:
            return str(e)
        gone = sum(source is None for source in verdict.copies.values())
        count = len(verdict.copies) - gone
        parts = [_counted(count, "file")] if count or not gone else []
        parts += [_counted(gone, "deletion")] if gone else []
        self._say(
            name,
            f"{' and '.join(parts)} synced into {_counted(copied.containers, 'container')} "
            f"in {copied.seconds:.2f} s",
        )
        return ""

    async def _build(self, builds: dict[str, str]) -> list[str]:
        """Build and push; what could not be keeps its last image, and is told."""
        for name, why in builds.items():
            if why != "first":
                self._say(name, f"build: {why}")
        made = await self._session.make(list(builds))
        done = []
        for name, one in made.made.items():
            self._again.pop(name, None)
            self._stale.discard(name)
            self._syncer.built(name, one.image.reference)
            seconds = f"{one.build_seconds:.2f} s, push {one.push_seconds:.2f} s"
            how = "is in the registry already" if one.how == "there" else f"{one.how} in {seconds}"
            self._say(name, f"{one.image.tagged} {how}")
            if one.how != "there":
                done.append(f"{name} {one.how}")
        self._pods.expect(self._session.images())
        for name, error in made.failed.items():
            self._tell(str(error))
            self._again.pop(name, None)
            self._stale.add(name)
            if isinstance(error, PushError):
                self._later(name)
        if made.failed:
            runs = [n for n in made.failed if n in self._session.built]
            kept = f"; {', '.join(runs)} runs on as it is" if runs else ""
            raise DevError(f"{', '.join(made.failed)} could not be had{kept}")
        self._delay = AGAIN
        return done

    def _later(self, name: str) -> None:
        """Try again by itself: a registry may come back without any file being changed."""
        self._again[name] = "the push is tried again"
        asyncio.get_running_loop().call_later(self._delay, self._poke.set)
        self._delay = min(2 * self._delay, LATEST)

    def _affected(self, paths: set[Path], *, first: bool, built: bool) -> list[Deploy]:
        """What has to be deployed; releases that have not changed are skipped by the deployer."""
        ordered = self._plan.ordered()
        if first or built or self._undeployed:
            return ordered

        def touched(deploy: Deploy) -> bool:
            places = [place.resolve() for place in inputs(deploy)]
            return any(p == q or p.is_relative_to(q) for p in paths for q in places)

        return [deploy for deploy in ordered if touched(deploy)]

    async def _deploy(self, deploys: Sequence[Deploy]) -> None:
        self._undeployed = True
        for deploy in deploys:
            if deploy.waits and not await self._wait(deploy.after):
                return
            (deployed,) = await self._session.deploy([deploy])
            self._targets[deploy.name] = deployed.targets
            await self._pods.follow({t.namespace for t in deployed.targets})
        self._undeployed = False

    async def _wait(self, names: Sequence[str] | None = None) -> bool:
        """Return True when all that was deployed is ready, False when files change before.

        ``names`` None is everything.
        """
        wanted = [
            target
            for name, targets in self._targets.items()
            if names is None or name in names
            for target in targets
        ]
        waiting = asyncio.create_task(self._ready(wanted), name="rollout")
        try:
            await self._until_something(waiting)
            if not waiting.done():
                return False
            waiting.result()
            return True
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    async def _ready(self, wanted: Sequence[Target]) -> None:
        """Rolled out, and every container has what was copied since its image was built."""
        await settled(
            self._session.client,
            wanted,
            log=lambda text: self._say("cove", text),
            clock=self._session.clock,
        )
        for name in self._scans:
            await self._syncer.settle(name)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
