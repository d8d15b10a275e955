"""PodWorker: one pod's containers, brought to where the pod's spec wants them.

One task looks at the pod whenever something happened — a container ended, a probe changed
its mind, a back-off is over, the pod was changed — and does the next thing.  Ending the
pod ends that task first.

Sources: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/,
``computePodActions`` of ``pkg/kubelet/kuberuntime``
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cove.client import Clock, Tasks
from cove.kube.status import StatusError
from cove.kube.times import format_time, parse_time
from cove.node.docker import labels as marks
from cove.node.docker import spec as specs
from cove.node.docker.connection import DockerError, EngineDownError
from cove.node.docker.containers import LOST, RUNTIME, Container, Exit, Kind, exit_of, when
from cove.node.docker.images import Image, ImageError
from cove.node.docker.lifecycle import Lifecycle
from cove.node.driver import PodState, Report
from cove.node.pods.backoff import BackOff
from cove.node.pods.env import Around, ConfigError, environment
from cove.node.pods.volumes import HostVolume, VolumeError

if TYPE_CHECKING:
    from cove.node.docker.driver import DockerDriver

__all__ = ["PodWorker"]

log = logging.getLogger("cove.node")

Doc = dict[str, Any]

# What is asked of others again when it was refused: seconds, doubled.
RETRY, RETRY_LIMIT = 0.5, 120.0
CONFIG_RETRY = 10.0
MESSAGE_LIMIT = 4096
_POLICIES = {"sidecar": "Always", "ephemeral": "Never"}


class PodWorker:
    """Runs one pod; made and ended by the driver."""

    def __init__(self, driver: DockerDriver, pod: Doc, address: str, report: Report) -> None:
        self.driver = driver
        self.engine = driver.engine
        self.clock: Clock = driver.clock
        self.pod = pod
        self.address = address
        self.sandbox = ""
        self.volumes: dict[str, HostVolume] = {}
        self.containers: dict[str, Container] = {}
        self.done = False
        self._report = report
        self._wake = asyncio.Event()
        self._tasks = Tasks()
        self._retry = RETRY
        self._failed: tuple[str, str] = ("", "")
        self._life = Lifecycle(self)
        self._stopping: asyncio.Future[None] | None = None
        self._kill_now = asyncio.Event()
        self._begun = False

    # -- from outside

    @property
    def uid(self) -> str:
        """The pod's."""
        return str(self.pod["metadata"]["uid"])

    @property
    def host(self) -> str:
        """The address of the pod's node."""
        return self.driver.host_of(self.pod)

    @property
    def reachable(self) -> str:
        """Where the pod's ports are: its own address, or the node's."""
        return self.host if self.pod["spec"].get("hostNetwork") else self.address

    @property
    def waits_for_configuration(self) -> bool:
        """Whether something the pod names was not there."""
        return not self.sandbox or any(
            c.waiting[0] == "CreateContainerConfigError" for c in self.containers.values()
        )

    def start(self) -> None:
        """Begin."""
        self._tasks.start(f"pod {self._name}", self._run())

    def update(self, pod: Doc) -> None:
        """The pod has changed."""
        self.pod = pod
        self.wake()

    def wake(self) -> None:
        """Look at the pod."""
        self._wake.set()

    def changed(self, id: str) -> None:
        """Something happened to one of its containers in the engine."""
        if id == self.sandbox:
            self.wake()
        for container in self.containers.values():
            if container.id == id:
                container.changed = True
                self.wake()

    def check(self) -> None:
        """Compare everything with the engine: events may have been missed."""
        for container in self.containers.values():
            container.changed = True
        self.wake()

    def event(self, type: str, reason: str, message: str, container: str = "") -> None:
        """Tell about the pod, or about one of its containers."""
        self.driver.event(self.pod, type, reason, message, container)

    def later(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Do something besides; the pod's end ends it."""
        self._tasks.start(name, work)

    async def stop(self, grace: float) -> None:
        """End every container and remove what the pod has in the engine and on the host."""
        if self._stopping is not None:
            if grace <= 0:
                self._kill_now.set()
            await asyncio.shield(self._stopping)
            return
        self._stopping = asyncio.get_running_loop().create_future()
        try:
            await self._tasks.close()
            await self._end(grace)
            await self._clear()
        except BaseException as e:
            future, self._stopping = self._stopping, None
            if isinstance(e, Exception):
                future.set_exception(e)
                future.exception()
            else:
                future.cancel()
            raise
        self._stopping.set_result(None)

    async def abandon(self) -> None:
        """Let go of the pod and leave its containers to whoever comes next."""
        await self._tasks.close()
        for container in self.containers.values():
            await container.probes.close()

    # -- the loop

    @property
    def _name(self) -> str:
        metadata = self.pod["metadata"]
        return f"{metadata['namespace']}/{metadata['name']}"

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            delay: float | None
            try:
                delay = await self._look()
                self._retry = RETRY
            except EngineDownError as e:
                log.info("pod %s: %s", self._name, e)
                delay = None  # the driver wakes everybody when it is back
            except (VolumeError, StatusError, DockerError, OSError) as e:
                self._trouble(e)
                delay, self._retry = self._retry, min(self._retry * 2, RETRY_LIMIT)
            self.tell()
            if self.done:
                return
            await self._wait(delay)

    async def _wait(self, delay: float | None) -> None:
        timer = None
        if delay is not None:
            timer = self.clock.call_later(delay, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()

    def _trouble(self, error: Exception) -> None:
        log.info("pod %s: %s", self._name, error)
        if isinstance(error, VolumeError):
            self.event("Warning", "FailedMount", str(error))
        elif not self.sandbox:
            message = f"Failed to create pod sandbox: {error}"
            self.event("Warning", "FailedCreatePodSandBox", message)
        else:
            self.event("Warning", "FailedSync", f"error determining status: {error}")

    def tell(self) -> None:
        """Report the pod as it is now."""
        states = {name: c.state() for name, c in self.containers.items()}
        reason, message = self._failed
        self._report(PodState(states, bool(self.sandbox) or self.done, reason, message))

    async def _look(self) -> float | None:
        """Do what is due; seconds until something else is, None: nothing is."""
        if not self._begun:
            await self._begin()
            self._begun = True
        self._register()
        for container in self.containers.values():
            if container.changed:
                await self._refresh(container)
        left = self._deadline()
        if left is not None and left <= 0:
            message = "Pod was active on the node longer than the specified deadline"
            await self._finish(("DeadlineExceeded", message))
            return None
        if self._over():
            await self._finish(("", ""))
            return None
        around = self.driver.around(self.pod, self.address)
        self.volumes = await self.driver.volumes.set_up(self.pod, around)
        await self._ensure_sandbox()
        await self._resize()
        delays = [left, await self._start_what_is_due(around), self._renewal()]
        if self._over():
            await self._finish(("", ""))
            return None
        return min((d for d in delays if d is not None), default=None)

    def _register(self) -> None:
        """Know every container that the spec has; ephemeral ones come later."""
        spec = self.pod["spec"]
        kinds: list[tuple[Kind, Iterable[Doc]]] = [
            ("init", spec.get("initContainers") or ()),
            ("main", spec["containers"]),
            ("ephemeral", spec.get("ephemeralContainers") or ()),
        ]
        for kind, listed in kinds:
            for container in listed:
                name = container["name"]
                if name in self.containers:
                    continue
                own: Kind = kind
                if kind == "init" and container.get("restartPolicy") == "Always":
                    own = "sidecar"
                made = Container(name, own, BackOff(self.clock))
                if kind == "main" and spec.get("initContainers"):
                    made.waiting = ("PodInitializing", "")
                self.containers[name] = made

    def _deadline(self) -> float | None:
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        started = self.pod.get("status", {}).get("startTime")
        if seconds is None or not started:
            return None if seconds is None else float(seconds)
        passed = (self.clock.now() - parse_time(started)).total_seconds()
        return float(seconds) - passed

    def _renewal(self) -> float | None:
        due = self.driver.volumes.next_renewal(self.uid)
        return None if due is None else max(1.0, due - self.clock.monotonic())

    # -- what was there before

    async def _begin(self) -> None:
        """Take over the containers of an earlier run, or know that they are lost."""
        self._register()
        found = await self.driver.existing(self.uid)
        newest: dict[str, tuple[int, Doc]] = {}
        for entry in found:
            labels = entry["Labels"]
            name, attempt = labels[marks.CONTAINER], int(labels.get(marks.ATTEMPT, "0"))
            if name not in newest or attempt > newest[name][0]:
                newest[name] = (attempt, entry)
        sandbox = newest.pop(marks.SANDBOX, None)
        if sandbox is not None:
            inspected = await self.engine.inspect(sandbox[1]["Id"])
            if inspected is not None and inspected["State"]["Running"]:
                self.sandbox = str(inspected["Id"])
        for name, (attempt, entry) in newest.items():
            container = self.containers.get(name)
            if container is not None:
                container.id, container.attempt, container.changed = entry["Id"], attempt, True
        self._seed(newest)

    def _seed(self, found: Mapping[str, Any]) -> None:
        """Carry on from the status the server has, for containers that are gone."""
        status = self.pod.get("status", {})
        kinds = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
        for known in (s for kind in kinds for s in status.get(kind) or ()):
            container = self.containers.get(known["name"])
            if container is None or not known.get("containerID"):
                continue
            container.image_id = container.image_id or known.get("imageID", "")
            if known["name"] in found:
                continue
            container.attempt = int(known.get("restartCount") or 0)
            if container.kind == "init":
                continue  # a new sandbox is initialized anew
            now = format_time(self.clock.now())
            state = known.get("state") or {}
            before = state.get("running") or state.get("terminated") or {}
            container.exit = Exit(
                code=LOST,
                reason="ContainerStatusUnknown",
                id=known["containerID"].removeprefix(RUNTIME),
                started=before.get("startedAt") or now,
                finished=now,
                at=self.clock.monotonic(),
                message="The container could not be located when the pod was restarted",
            )
            container.waiting = ("", "")

    async def _refresh(self, container: Container) -> None:
        """See what became of a container."""
        container.changed = False
        inspected = await self.engine.inspect(container.id) if container.id else None
        if container.id and inspected is None:
            if container.exit is None or container.running:
                now = format_time(self.clock.now())
                await self._ended(
                    container,
                    Exit(
                        code=LOST,
                        reason="ContainerStatusUnknown",
                        id=container.id,
                        started=container.running or now,
                        finished=now,
                        at=self.clock.monotonic(),
                        message="The container could not be located when the pod was terminated",
                    ),
                )
            return
        if inspected is None:
            return
        state = inspected["State"]
        if state.get("Running"):
            if not container.running:
                container.running = when(state.get("StartedAt")) or format_time(self.clock.now())
                container.exit, container.waiting = None, ("", "")
                container.image = container.image or str(inspected["Config"]["Image"])
                self._life.watch(container)
        elif state.get("Status") != "created":
            if container.exit is None or container.running:
                await self._ended(
                    container, exit_of(inspected, self.clock, await self._last_words(container))
                )

    async def _ended(self, container: Container, exit: Exit) -> None:
        container.exit = exit
        container.running, container.ready, container.started = "", False, None
        container.waiting = ("", "")
        await container.probes.close()

    async def _last_words(self, container: Container) -> str:
        """The termination message, from its file or, if wanted, the log's end."""
        spec = self.spec_of(container.name)
        path = self._message_file(container)
        try:
            text = path.read_bytes()[-MESSAGE_LIMIT:].decode(errors="replace")
        except OSError:
            text = ""
        failed = spec.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        if text or not failed:
            return text
        return await self.driver.log_tail(container.id, 80, 2048)

    # -- the sandbox

    async def _ensure_sandbox(self) -> None:
        """Have one that runs; when it went, everything in it starts again."""
        if self.sandbox:
            inspected = await self.engine.inspect(self.sandbox)
            if inspected is not None and inspected["State"]["Running"]:
                return
            self.event(
                "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created."
            )
            self.sandbox = ""
            for container in self.containers.values():
                if container.running:
                    await self.engine.kill(container.id)
                    await self._refresh(container)
                if container.kind == "init":
                    container.exit = None
        labels = self.driver.labels(self.pod)
        config = specs.sandbox_config(
            self.pod, labels, self.driver.network, self.address, self.driver.publish
        )
        name = specs.container_name(self.driver.cluster, self.pod, marks.SANDBOX, 0)
        await asyncio.to_thread(self._write_hosts)
        made = await self.engine.create(name, config)
        try:
            await self.engine.start(made)
        except DockerError:
            await self.engine.remove(made)
            raise
        self.sandbox = made
        self.driver.joined(self.address, self.pod)

    def _write_hosts(self) -> None:
        folder = self.driver.volumes.pod_folder(self.pod)
        folder.mkdir(parents=True, exist_ok=True)
        spec = self.pod["spec"]
        (folder / "resolv.conf").write_text(self.driver.resolv_conf(self.pod))
        if spec.get("hostNetwork"):
            text = Path("/etc/hosts").read_text()
        else:
            name = specs.hostname(self.pod)
            full = (
                f"{name}\t"
                if not spec.get("subdomain")
                else (
                    f"{name}.{spec['subdomain']}.{self.pod['metadata']['namespace']}"
                    f".svc.cluster.local\t{name}"
                )
            )
            text = (
                "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"
                "::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"
                "fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
                f"{self.address}\t{full.strip()}\n"
            )
        aliases = spec.get("hostAliases") or ()
        if aliases:
            text += "\n# Entries added by HostAliases.\n"
            for alias in aliases:
                text += f"{alias['ip']}\t" + "\t".join(alias.get("hostnames") or ()) + "\n"
        (folder / "etc-hosts").write_text(text)

    # -- resources

    async def _resize(self) -> None:
        """Give containers that run the resources the pod has now (KEP-1287).

        Those whose resizePolicy wants it are started again with them.
        """
        for container in self.containers.values():
            spec = self.spec_of(container.name)
            wanted = spec.get("resources") or {}
            before = container.resources
            if not container.running or before is None or before == wanted:
                continue
            policies = {
                p["resourceName"]: p["restartPolicy"] for p in spec.get("resizePolicy") or ()
            }
            changed = [name for name in ("cpu", "memory") if _of(before, name) != _of(wanted, name)]
            if any(policies.get(name) == "RestartContainer" for name in changed):
                container.resources = None
                why = f"Container {container.name} resize requires restart"
                await self.kill(container, why, self._grace())
                continue
            try:
                await self.engine.update(container.id, specs.limits_of(spec))
            except DockerError as e:
                text = f"resources of container {container.name} cannot be changed: {e}"
                self.event("Warning", "ResizeError", text, container.name)
            container.resources = wanted

    # -- starting

    async def _start_what_is_due(self, around: Around) -> float | None:
        """Start containers in their order; seconds until one that waits may go."""
        delays: list[float] = []
        for container in self._of("ephemeral"):
            if container.attempt < 0:
                await self._try(container, around, delays)
        for container in self._of("init", "sidecar"):
            if container.kind == "init":
                if container.exit is not None and container.exit.code == 0:
                    continue
                if not container.running:
                    await self._try(container, around, delays)
                return min(delays, default=None)
            if not container.running:
                await self._try(container, around, delays)
            if not container.up():
                return min(delays, default=None)
        for container in self._of("main"):
            if not container.running and self._wanted(container):
                await self._try(container, around, delays)
        return min(delays, default=None)

    def _of(self, *kinds: Kind) -> list[Container]:
        return [c for c in self.containers.values() if c.kind in kinds]

    def _policy(self, container: Container) -> str:
        own = self.spec_of(container.name).get("restartPolicy")
        policy = _POLICIES.get(container.kind) or own or self.pod["spec"].get("restartPolicy")
        policy = str(policy or "Always")
        return "OnFailure" if container.kind == "init" and policy == "Always" else policy

    def _wanted(self, container: Container) -> bool:
        """Whether a container that does not run is to."""
        if container.exit is None:
            return True
        policy = self._policy(container)
        for rule in self.spec_of(container.name).get("restartPolicyRules") or ():
            codes = rule.get("exitCodes") or {}
            inside = container.exit.code in (codes.get("values") or ())
            if inside == (codes.get("operator") == "In"):
                return bool(rule.get("action") == "Restart")
        return policy == "Always" or (policy == "OnFailure" and container.exit.code != 0)

    def _over(self) -> bool:
        """Whether nothing of the pod is to run any more."""
        for container in self._of("init"):
            if container.exit is not None and container.exit.code != 0:
                if not self._wanted(container):
                    return True
        mains = self._of("main")
        return all(
            not c.running and c.exit is not None and not self._wanted(c) for c in mains
        ) and bool(mains)

    async def _try(self, container: Container, around: Around, delays: list[float]) -> None:
        """Start a container, or say what it waits for."""
        if container.exit is not None and container.attempt >= 0:
            left = container.backoff.remaining(container.exit.at)
            if left > 0:
                self._crash_loop(container)
                delays.append(left)
                return
        if container.image_backoff is not None:
            left = container.image_backoff.remaining(container.image_failed)
            if left > 0:
                self._image_waits(container)
                delays.append(left)
                return
        try:
            await self._start(container, around)
        except ImageError as e:
            container.image_backoff = container.image_backoff or BackOff(self.clock)
            container.image_backoff.next()
            container.image_failed = self.clock.monotonic()
            container.waiting = (e.reason, str(e))
            delays.append(container.image_backoff.delay)
        except ConfigError as e:
            container.waiting = ("CreateContainerConfigError", str(e))
            self.event("Warning", "Failed", f"Error: {e}", container.name)
            delays.append(CONFIG_RETRY)
        self.tell()

    def _crash_loop(self, container: Container) -> None:
        metadata = self.pod["metadata"]
        where = f"pod={metadata['name']}_{metadata['namespace']}({metadata['uid']})"
        delay = _span(container.backoff.delay)
        text = f"back-off {delay} restarting failed container={container.name} {where}"
        if container.waiting != ("CrashLoopBackOff", text):
            container.waiting = ("CrashLoopBackOff", text)
            self.event(
                "Warning",
                "BackOff",
                f"Back-off restarting failed container {container.name} in pod "
                f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})",
                container.name,
            )

    def _image_waits(self, container: Container) -> None:
        reason, message = container.waiting
        if reason == "ErrImagePull":
            text = f'Back-off pulling image "{self.spec_of(container.name)["image"]}"'
            self.event("Normal", "BackOff", text, container.name)
            self.event("Warning", "Failed", "Error: ImagePullBackOff", container.name)
            container.waiting = ("ImagePullBackOff", f"{text}: ErrImagePull: {message}")

    def spec_of(self, name: str) -> Doc:
        """A container as the pod's spec has it."""
        spec = self.pod["spec"]
        kinds = ("containers", "initContainers", "ephemeralContainers")
        return next(c for kind in kinds for c in spec.get(kind) or () if c["name"] == name)

    async def _start(self, container: Container, around: Around) -> None:
        spec = self.spec_of(container.name)
        metadata = self.pod["metadata"]

        def tell(type: str, reason: str, message: str) -> None:
            self.event(type, reason, message, container.name)

        image = await self.driver.images.ensure(spec, self.driver.pull_secrets(self.pod), tell)
        container.image_backoff = None
        env = environment(spec, self.pod, around)
        attempt = container.attempt + 1
        config = await self._config(container, spec, image, env, attempt)
        name = specs.container_name(self.driver.cluster, self.pod, container.name, attempt)
        try:
            made = await self.engine.create(name, config)
        except DockerError as e:
            container.waiting = ("CreateContainerError", str(e))
            tell("Warning", "Failed", f"Error: {e}")
            raise ConfigError(str(e)) from e
        tell("Normal", "Created", f"Created container: {container.name}")
        if container.previous:
            await self.engine.remove(container.previous)
        container.previous, container.id = container.id, made
        container.last, container.exit = container.exit or container.last, None
        container.attempt, container.image = attempt, spec["image"]
        container.image_id = image.shown
        container.resources = spec.get("resources") or {}
        if attempt:
            container.backoff.next()
        try:
            await self.engine.start(made)
        except DockerError as e:
            now = format_time(self.clock.now())
            text = f"failed to start container: {e}"
            tell("Warning", "Failed", f"Error: {text}")
            await self._ended(
                container,
                Exit(
                    code=128,
                    reason="StartError",
                    id=made,
                    started=now,
                    finished=now,
                    at=self.clock.monotonic(),
                    message=text,
                ),
            )
            self.wake()
            return
        container.waiting = ("", "")
        container.running = format_time(self.clock.now())
        tell("Normal", "Started", f"Started container {container.name}")
        log.debug("pod %s/%s: %s runs", metadata["namespace"], metadata["name"], container.name)
        if await self._life.post_start(container):
            self._life.watch(container)

    async def _config(
        self, container: Container, spec: Doc, image: Image, env: Mapping[str, str], attempt: int
    ) -> Doc:
        _check_user(self.pod, spec, image)
        binds = specs.mounts(spec, self.volumes, env)
        tmpfs: dict[str, str] = {}
        kept: list[specs.Mount] = []
        for mount, wanted in zip(binds, spec.get("volumeMounts") or (), strict=True):
            volume = self.volumes[wanted["name"]]
            if volume.tmpfs is not None:
                name = f"cove-{self.driver.cluster}_{wanted['name'][:40]}_{self.uid}"
                await self.engine.create_volume(name, self.driver.labels(self.pod), volume.tmpfs)
                tmpfs[mount.target] = name
                continue
            await asyncio.to_thread(_inside, mount, volume)
            kept.append(mount)
        folder = self.driver.volumes.pod_folder(self.pod)
        taken = {m.target for m in kept}
        for file, target in (("etc-hosts", "/etc/hosts"), ("resolv.conf", "/etc/resolv.conf")):
            if target not in taken:
                kept.append(specs.Mount(str(folder / file), target))
        message = self._message_file(container, attempt)
        await asyncio.to_thread(_touch, message)
        target = spec.get("terminationMessagePath") or "/dev/termination-log"
        kept.append(specs.Mount(str(message), target))
        labels = {**self.driver.labels(self.pod), marks.ATTEMPT: str(attempt)}
        return specs.container_config(
            self.pod,
            spec,
            image=image.name,
            labels=labels,
            sandbox=self.sandbox,
            env=env,
            binds=kept,
            tmpfs=tmpfs,
            guaranteed=_oom_score(self.pod, spec, self.driver.memory),
        )

    def _message_file(self, container: Container, attempt: int | None = None) -> Path:
        number = container.attempt if attempt is None else attempt
        folder = self.driver.volumes.pod_folder(self.pod) / "containers" / container.name
        return folder / f"{number}.message"

    # -- ending

    async def kill(self, container: Container, why: str, grace: float) -> None:
        """End one container that is to be started again; its exit comes as an event."""
        self.event("Normal", "Killing", why, container.name)
        await container.probes.close()
        await self._life.end(container, grace, self._kill_now)
        container.changed = True
        self.wake()

    async def _finish(self, failed: tuple[str, str]) -> None:
        """Nothing is to run any more: end sidecars and the sandbox, keep the logs."""
        if failed[0]:
            self._failed = failed
            self.event("Normal", failed[0], failed[1])
        await self._end(self._grace())
        if self.sandbox:
            await self.engine.remove(self.sandbox)
            self.driver.left(self.address)
        self.done = True

    def _grace(self) -> float:
        return float(self.pod["spec"].get("terminationGracePeriodSeconds") or 0)

    async def _end(self, grace: float) -> None:
        """End what runs: first the pod's containers together, then sidecars, last one first."""
        until = self.clock.monotonic() + grace
        await asyncio.gather(
            *(self._end_one(c, until) for c in self._of("main", "ephemeral", "init"))
        )
        for container in reversed(self._of("sidecar")):
            await self._end_one(container, until)

    async def _end_one(self, container: Container, until: float) -> None:
        await container.probes.close()
        if not container.id or not container.running:
            return
        grace = max(0.0, until - self.clock.monotonic())
        await self._life.end(container, grace, self._kill_now)
        container.changed = False
        inspected = await self.engine.inspect(container.id)
        if inspected is not None:
            await self._ended(
                container, exit_of(inspected, self.clock, await self._last_words(container))
            )
        self.tell()

    async def _clear(self) -> None:
        self.driver.left(self.address)
        await self.driver.remove_containers(self.uid)
        await self.driver.volumes.tear_down(self.uid)


def _span(seconds: float) -> str:
    """As Go writes durations: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _of(resources: Mapping[str, Any], name: str) -> tuple[Any, Any]:
    return tuple((resources.get(kind) or {}).get(name) for kind in ("requests", "limits"))  # type: ignore[return-value]  # of two


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    path.chmod(0o666)


def _inside(mount: specs.Mount, volume: HostVolume) -> None:
    """Make a subPath and see that no link leads it out of its volume."""
    if mount.source == volume.path:
        return
    root, path = os.path.realpath(volume.path), os.path.realpath(mount.source)
    if path != root and not path.startswith(root.rstrip("/") + "/"):
        raise ConfigError(f"subPath of volume at {mount.target} leads out of the volume")
    if not os.path.exists(path):
        os.makedirs(path, mode=0o777)


def _check_user(pod: Doc, spec: Doc, image: Image) -> None:
    """runAsNonRoot is checked against what the image would run as."""
    of_pod, own = pod["spec"].get("securityContext") or {}, spec.get("securityContext") or {}
    if not own.get("runAsNonRoot", of_pod.get("runAsNonRoot")):
        return
    user = own.get("runAsUser", of_pod.get("runAsUser"))
    where = f'(pod: "{pod["metadata"]["name"]}_{pod["metadata"]["namespace"]}({pod["metadata"]["uid"]})", container: {spec["name"]})'
    if user is not None:
        if int(user) == 0:
            raise ConfigError(f"container's runAsUser breaks non-root policy {where}")
        return
    named = image.user.partition(":")[0]
    if named and not named.isdecimal():
        raise ConfigError(
            f"container has runAsNonRoot and image has non-numeric user ({named}), cannot verify "
            f"user is non-root {where}"
        )
    if not named or int(named) == 0:
        raise ConfigError(f"container has runAsNonRoot and image will run as root {where}")


def _oom_score(pod: Doc, spec: Doc, memory: int) -> int:
    """oom_score_adj by quality of service; never below the host's own processes.

    Kubelets give Guaranteed pods -997: a node may prefer its pods to everything else, a
    developer's machine may not, and rootless engines are not allowed to.
    """
    from cove.kube.quantity import parse

    quality = pod.get("status", {}).get("qosClass")
    if quality == "Guaranteed":
        return 0
    if quality == "BestEffort" or not memory:
        return 1000
    requests = (spec.get("resources") or {}).get("requests") or {}
    wanted = parse(str(requests.get("memory", "0"))).value
    return min(max(1000 - 1000 * wanted // memory, 3), 999)
