"""Run: what pytest tells of a test run, turned into worlds, timelines and reports."""

from __future__ import annotations

import platform
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from cove._version import __version__
from cove.kube.status import CoveError
from cove.testing.diagnosis import situation
from cove.testing.plugin.order import identity, marked
from cove.testing.plugin.session import Session, close_folder, new_folder
from cove.testing.timeline import Timeline
from cove.testing.values import settle

if TYPE_CHECKING:
    from cove.testing.declarations import Environment
    from cove.testing.plugin.options import Options
    from cove.testing.world import World

__all__ = ["Run"]


class Run:
    """One process of a test run.  ``worker`` is what an xdist worker was told, None elsewhere."""

    def __init__(self, options: Options, worker: dict[str, Any] | None) -> None:
        self.options = options
        self.summary: list[str] = []
        # By node id: the test whose end another one starts from.
        self.after: dict[str, str] = {}
        self._worker = worker
        self._folder: Path | None = None
        self._session: Session | None = None
        self._timeline: Timeline | None = None
        self._items: set[str] = set()
        self._written = 0
        self._started = time.time()

    # -- what is owned

    @property
    def folder(self) -> Path:
        """What all processes of the run share; gone with the run."""
        if self._folder is None:
            told = (self._worker or {}).get("cove_folder")
            self._folder = Path(told) if told else new_folder()
        return self._folder

    @property
    def session(self) -> Session:
        """The clusters of this process."""
        if self._session is None:
            worker = (self._worker or {}).get("workerid", "")
            self._session = Session(self.options, self.folder, worker)
        return self._session

    def close(self) -> None:
        """End all clusters; in the process that tells of the run, write its report."""
        try:
            if self._session is not None:
                self._session.close()
        finally:
            if self._session is not None:
                self._tell_kept(self._session)
            if self._worker is None:
                self._publish()

    def remove(self) -> None:
        """Remove what the run has kept in files."""
        if self._folder is not None and self._worker is None:
            close_folder(self._folder)

    # -- a test

    def begin(self, item: pytest.Item) -> None:
        """A test that has a cluster is about to be set up."""
        self._timeline = self.session.timeline = Timeline(item.nodeid)
        self._timeline.note("phase", "setup")

    def phase(self, name: str) -> None:
        """The test goes on to its next phase."""
        if self._timeline is not None:
            self._timeline.note("phase", name)

    def enter(self, request: pytest.FixtureRequest, env: Environment) -> World:
        """The world that a test has of an environment."""
        item = request.node
        said = marked(item)
        scope = _scope(item, said.scope)
        start = None
        before = self.after.get(identity(item))
        if before is not None:
            try:
                start = self.session.ends.get(before)
            except LookupError as e:
                pytest.fail(str(e), pytrace=False)
            if start is None:
                pytest.skip(f"{before}, whose end this test starts from, did not pass")
        try:
            world = self.session.enter(env, scope, start)
        except CoveError as e:
            pytest.fail(f"the environment {env.type.__name__} cannot be had: {e}", pytrace=False)
        engine = world.first.engine
        if said.engines and engine not in said.engines:
            if said.scope == "test":
                self.session.leave(env, scope)
            pytest.skip(f"needs the engine {' or '.join(said.engines)}; this is {engine}")
        if said.scope == "test":
            request.addfinalizer(partial(self._leave, env, scope, identity(item)))
        return world

    def _leave(self, env: Environment, scope: str, nodeid: str) -> None:
        timeline = self._timeline
        if nodeid in self.after.values() and timeline is not None and timeline.outcome == "passed":
            self.session.remember_end(nodeid, passed=True)
        self.session.leave(env, scope)

    def finished(self, nextitem: pytest.Item | None) -> None:
        """A test has ended, and what it shared with none: end what the next one has no part in."""
        if self._session is None:
            return
        scopes = set() if nextitem is None else {_scope(nextitem, s) for s in ("class", "module")}
        self._session.leave_all_but({*scopes, ""})

    # -- reports

    def report(
        self, item: pytest.Item, report: pytest.TestReport, error: BaseException | None
    ) -> None:
        """A phase has ended: say what happened if it failed, while the cluster is there."""
        timeline = self._timeline
        if timeline is None or timeline.name != item.nodeid:
            return
        if report.when == "call" or (report.when == "setup" and not report.passed):
            timeline.outcome = report.outcome if report.when == "call" else _of(report)
            if report.failed:
                if error is not None:
                    settle(timeline, error)
                self._failed(timeline, report)
        elif report.failed and timeline.outcome == "passed":
            timeline.outcome, timeline.failure = "error", report.longreprtext
        if report.when != "teardown":
            return
        nodeid = identity(item)
        if timeline.outcome != "passed" and nodeid in self.after.values():
            self.session.remember_end(nodeid, passed=False)
        self._tell(timeline, report)
        timeline.took = timeline.now()
        if self.options.report is not None:
            self._write(timeline)
        self._timeline = self.session.timeline = None

    def _failed(self, timeline: Timeline, report: pytest.TestReport) -> None:
        from cove.testing.report.terminal import failure

        timeline.failure = report.longreprtext
        world = self.session.world
        if world is not None:
            for place in world.places.values():
                found = self.session.bridge.call(situation(place.plain, place.space, logs=True))
                if found.pods:
                    timeline.note("pods", "pods that are not ready", "\n".join(found.pods))
                for line in found.warnings:
                    timeline.note("event", line)
                for name, text in found.logs.items():
                    timeline.note("pod-log", name, text)
            if self.options.keep:
                for line in self.session.keep_world(timeline):
                    report.sections.append(("cove: kept", line))
        lines = failure(timeline)
        if lines:
            report.sections.append(("cove: what happened", "\n".join(lines)))

    def _tell(self, timeline: Timeline, report: pytest.TestReport) -> None:
        """JUnit's properties of the test."""
        from cove.testing.report.junit import properties, system_out

        report.user_properties += properties(timeline)
        if timeline.outcome in ("failed", "error"):
            report.user_properties.append(("cove.happened", system_out(timeline)))

    def _write(self, timeline: Timeline) -> None:
        self._written += 1
        worker = (self._worker or {}).get("workerid", "main")
        folder = self.folder / "timelines"
        folder.mkdir(exist_ok=True)
        path = folder / f"{timeline.started:018.6f}-{worker}-{self._written:06}.json"
        path.write_bytes(orjson.dumps(timeline.to_json(), default=list))

    def _publish(self) -> None:
        if self._folder is None:
            return
        for path in sorted((self._folder / "kept").glob("*")):
            self.summary.append(path.read_text())
        if self.options.report is None:
            return
        from cove.testing.report.html import Run as About
        from cove.testing.report.html import render

        timelines = [
            Timeline.from_json(orjson.loads(path.read_bytes()))
            for path in sorted((self._folder / "timelines").glob("*.json"))
        ]
        about = About(
            engine=self.options.engine or "embedded",
            started=self._started,
            took=time.time() - self._started,
            facts={"cove": __version__, "Python": platform.python_version()},
        )
        self.options.report.parent.mkdir(parents=True, exist_ok=True)
        self.options.report.write_text(render(timelines, about))
        self.summary.append(f"cove: {len(timelines)} timelines in {self.options.report}")

    def _tell_kept(self, session: Session) -> None:
        folder = self.folder / "kept"
        for number, kept in enumerate(session.kept):
            folder.mkdir(exist_ok=True)
            worker = (self._worker or {}).get("workerid", "main")
            text = kept.problem or f"cove: {kept.how}  ({kept.test})"
            (folder / f"{worker}-{number}").write_text(text)


def _of(report: pytest.TestReport) -> str:
    return "skipped" if report.skipped else "error"


def _scope(item: pytest.Item, scope: str) -> str:
    """The node id that says who shares a world; "" for all."""
    if scope == "test":
        return item.nodeid
    if scope == "session":
        return ""
    kind = pytest.Class if scope == "class" else pytest.Module
    parent = item.getparent(kind) or item.getparent(pytest.Module)
    return item.nodeid if parent is None else parent.nodeid
