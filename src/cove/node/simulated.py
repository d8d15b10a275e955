"""SimulatedDriver: containers that exist on paper only.

Every container runs and is ready at once and stays so, but for the pods of Jobs: what is
meant to end ends well, after a second.  An annotation on the pod says it otherwise::

    cove.dev/simulate: exit=0,after=1s

``exit`` is the exit code all of the pod's (non-init) containers end with, ``after`` how
long they run first (a Go duration, 0s if absent); ``exit=never`` keeps a Job's pod running.  What the restart policy wants restarted
is restarted, with upstream's back-off (10 s, doubled up to 5 min).  ``ready=never`` keeps
the containers running but not ready.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

from cove.client.clock import Clock, SystemClock, Timer
from cove.kube.times import TimeError, format_time, parse_duration
from cove.node.driver import ContainerState, PodState, Report, Runtime

__all__ = ["ANNOTATION", "SimulatedDriver"]

Doc = dict[str, Any]

ANNOTATION = "cove.dev/simulate"
# How a Job's pod ends that says nothing: charts wait for their hooks.
JOB = {"exit": "0", "after": "1s"}
RESTART_BACKOFF = 10.0
RESTART_LIMIT = 300.0


def _options(pod: Doc) -> dict[str, str]:
    text = (pod["metadata"].get("annotations") or {}).get(ANNOTATION, "")
    pairs = (part.partition("=") for part in text.split(",") if part.strip())
    options = {key.strip(): value.strip() for key, _, value in pairs}
    if options.get("exit") == "never":
        del options["exit"]
    elif "exit" not in options and _of_job(pod):
        options.update(JOB)
    return options


def _of_job(pod: Doc) -> bool:
    owners = pod["metadata"].get("ownerReferences") or ()
    return any(o.get("controller") and o.get("kind") == "Job" for o in owners)


class _Pod:
    """A pod that is to end: its timer and how often its containers have."""

    __slots__ = ("restarts", "timer")

    def __init__(self) -> None:
        self.timer: Timer | None = None
        self.restarts = 0


class SimulatedDriver:
    """Pretends; see the module for the annotation that steers it."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.runtime = Runtime(
            "cove-simulated://1", simulated=True, os_image="cove (simulated)", kernel_version="none"
        )
        self._clock = clock or SystemClock()
        self._ending: dict[str, _Pod] = {}

    async def start(self, pod: Doc, address: str, report: Report) -> None:
        """Report everything as running, now."""
        options = _options(pod)
        ready = options.get("ready") != "never"
        report(PodState(self._running(pod, ready=ready, restarts=0)))
        if "exit" in options:
            self._ending[pod["metadata"]["uid"]] = _Pod()
            self._later(pod, options, report)

    def _running(self, pod: Doc, *, ready: bool, restarts: int) -> Mapping[str, ContainerState]:
        now = format_time(self._clock.now())
        uid = pod["metadata"]["uid"]
        spec = pod["spec"]
        states: dict[str, ContainerState] = {}
        running = {"running": {"startedAt": now}}
        for container in spec.get("initContainers", ()):
            name = container["name"]
            if container.get("restartPolicy") == "Always":
                states[name] = ContainerState(running, ready, restarts, _id(uid, name, 0))
            else:
                done = _terminated(0, now, now, _id(uid, name, 0))
                states[name] = ContainerState(done, True, 0, _id(uid, name, 0))
        for container in spec["containers"]:
            name = container["name"]
            states[name] = ContainerState(running, ready, restarts, _id(uid, name, restarts))
        return states

    def _later(self, pod: Doc, options: dict[str, str], report: Report) -> None:
        entry = self._ending.get(pod["metadata"]["uid"])
        if entry is None:
            return
        try:
            seconds = parse_duration(options.get("after", "0s")) / 1e9
        except (TimeError, ValueError):
            seconds = 0.0
        code = int(options["exit"]) if options["exit"].lstrip("-").isdigit() else 1
        started = self._clock.now()
        entry.timer = self._clock.call_later(
            seconds, lambda: self._end(pod, options, code, started, report)
        )

    def _end(
        self, pod: Doc, options: dict[str, str], code: int, started: datetime, report: Report
    ) -> None:
        uid = pod["metadata"]["uid"]
        entry = self._ending.get(uid)
        if entry is None:
            return
        since, now = format_time(started), format_time(self._clock.now())
        policy = pod["spec"].get("restartPolicy", "Always")
        again = policy == "Always" or (policy == "OnFailure" and code != 0)
        states = dict(self._running(pod, ready=False, restarts=entry.restarts))
        delay = min(RESTART_BACKOFF * 2.0**entry.restarts, RESTART_LIMIT)
        for container in pod["spec"]["containers"]:
            name = container["name"]
            id_ = _id(uid, name, entry.restarts)
            ended = _terminated(code, since, now, id_)
            if again:
                waiting = {
                    "waiting": {
                        "reason": "CrashLoopBackOff",
                        "message": f"back-off {int(delay)}s restarting failed container={name}",
                    }
                }
                states[name] = ContainerState(waiting, False, entry.restarts, id_, last=ended)
            else:
                states[name] = ContainerState(ended, False, entry.restarts, id_)
        report(PodState(states))
        if again:
            entry.timer = self._clock.call_later(delay, lambda: self._restart(pod, options, report))
        else:
            del self._ending[uid]

    def _restart(self, pod: Doc, options: dict[str, str], report: Report) -> None:
        entry = self._ending.get(pod["metadata"]["uid"])
        if entry is None:
            return
        entry.restarts += 1
        report(PodState(self._running(pod, ready=True, restarts=entry.restarts)))
        self._later(pod, options, report)

    def update(self, pod: Doc) -> None:
        """Nothing runs that could change."""

    async def stop(self, pod: Doc, grace: float) -> None:
        """Nothing runs, so it ends at once."""
        entry = self._ending.pop(pod["metadata"]["uid"], None)
        if entry is not None and entry.timer is not None:
            entry.timer.cancel()

    async def close(self) -> None:
        """Forget what was to end."""
        for entry in self._ending.values():
            if entry.timer is not None:
                entry.timer.cancel()
        self._ending.clear()


def _id(uid: str, name: str, restarts: int) -> str:
    return f"cove-simulated://{sha256(f'{uid}/{name}/{restarts}'.encode()).hexdigest()}"


def _terminated(code: int, started: str, finished: str, id: str) -> Doc:
    return {
        "terminated": {
            "exitCode": code,
            "reason": "Completed" if code == 0 else "Error",
            "startedAt": started,
            "finishedAt": finished,
            "containerID": id,
        }
    }
