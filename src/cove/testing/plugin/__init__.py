"""The pytest plugin: environments, a fork per test, what happened when one fails.

Installed with cove, it costs a run that uses none of it next to nothing: what is needed is
imported with the first fixture.

Source: https://docs.pytest.org/en/stable/reference/reference.html#hooks
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cove.testing.plugin.run import Run

__all__ = ["run_of"]

_RUN = pytest.StashKey["Run"]()
_HELP = """cove(*, scope="test", engine=None, after=None): how a test has its cluster.
    scope is test, class, module or session: who shares one copy.
    engine (one or several) skips the test on any other.
    after names a test whose end this one starts from."""


def _spare(finders: Iterable[object]) -> None:
    """Leave the modules of cove as they are.

    pytest rewrites the assert statements of every distribution that brings a plugin.  Of cove those are
    hundreds of modules and none that a test fails in: it would be parsed anew wherever bytecode is not
    kept, for more than a second.
    """
    for finder in finders:
        names = getattr(finder, "_must_rewrite", None)
        if isinstance(names, set):
            names.discard("cove")


_spare(sys.meta_path)


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--cove-…``"""
    group = parser.getgroup("cove", "clusters for tests")
    group.addoption(
        "--cove-engine",
        metavar="ENGINE",
        default=None,
        help="where clusters come from that name no engine: embedded (default), k3s, existing",
    )
    group.addoption(
        "--cove-context",
        metavar="CONTEXT",
        default=None,
        help="the kubeconfig's context of an existing cluster (default: its current one)",
    )
    group.addoption(
        "--cove-keep",
        action="store_true",
        help="leave the clusters of the first tests that fail up, and say how to enter them",
    )
    group.addoption(
        "--cove-report",
        metavar="FILE",
        nargs="?",
        const="cove-report.html",
        default=None,
        help="write a page with a timeline of every test (default name: cove-report.html)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make what owns the run's clusters; nothing is started yet."""
    config.addinivalue_line("markers", _HELP)


def run_of(config: pytest.Config) -> Run:
    """What owns the clusters of this process, made when it is first asked for."""
    run = config.stash.get(_RUN, None)
    if run is None:
        from cove.testing.plugin.options import Options
        from cove.testing.plugin.run import Run

        report = config.getoption("--cove-report")
        run = config.stash[_RUN] = Run(
            Options(
                engine=config.getoption("--cove-engine"),
                context=config.getoption("--cove-context"),
                keep=bool(config.getoption("--cove-keep")),
                report=Path(report).absolute() if report else None,
            ),
            _workerinput(config),
        )
    return run


def _workerinput(config: pytest.Config) -> dict[str, Any] | None:
    """What the controller told this worker; None in the controller, and without workers."""
    return getattr(config, "workerinput", None)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker (xdist) where the run keeps what its processes share."""
    node.workerinput["cove_folder"] = str(run_of(node.config).folder)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that start from another's end come after it."""
    if any(item.get_closest_marker("cove") for item in items):
        from cove.testing.plugin.order import arrange

        arrange(run_of(config), items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin a timeline for a test that has a cluster."""
    if _uses(item):
        run_of(item.config).begin(item)


def _uses(item: pytest.Item) -> bool:
    from cove.testing.plugin.names import MARK

    return MARK in getattr(item, "fixturenames", ())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Tell the timeline where the test itself begins."""
    run = item.config.stash.get(_RUN, None)
    if run is not None:
        run.phase("call")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A test that asks for what its engine cannot do is skipped, with the reason."""
    try:
        return (yield)
    except LookupError as e:
        from cove.testing.place import NotHereError

        if isinstance(e, NotHereError):
            pytest.skip(str(e))
        raise


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, None, None]:
    """End what nobody needs any more, once the test's fixtures have ended."""
    run = item.config.stash.get(_RUN, None)
    if run is not None:
        run.phase("teardown")
    try:
        return (yield)
    finally:
        if run is not None:
            run.finished(nextitem)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put what happened beside the failure, while the cluster is still there."""
    report = yield
    run = item.config.stash.get(_RUN, None)
    if run is not None:
        run.report(item, report, None if call.excinfo is None else call.excinfo.value)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_assertrepr_compare(
    config: pytest.Config, op: str, left: object, right: object
) -> Generator[None, list[list[str] | None], list[list[str] | None]]:
    """Say where recorded values came from, and what of them cannot mean what it seems to."""
    told = yield
    if config.stash.get(_RUN, None) is None:
        return told
    from cove.testing.values import explain

    more = explain(op, left, right)
    if more and told and told[0]:
        told[0] = [*told[0], *more]
    elif more:
        told = [[f"{left!r} {op} {right!r}", *more]]
    return told


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End every cluster, also after Ctrl-C; write the report."""
    run = session.config.stash.get(_RUN, None)
    if run is not None:
        run.close()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say where the report is, and which clusters were kept."""
    run = terminalreporter.config.stash.get(_RUN, None)
    if run is not None:
        for line in run.summary:
            terminalreporter.write_line(line)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no file behind."""
    run = config.stash.get(_RUN, None)
    if run is not None:
        run.remove()


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say which engine was asked for, where it is not the usual one."""
    engine = config.getoption("--cove-engine") or os.environ.get("COVE_ENGINE")
    return f"cove: engine {engine}" if engine else None


from cove.testing.plugin.fixtures import (  # noqa: E402 — hooks first: that is what is read here
    clock,
    cove_environment,
    faults,
    k8s,
    kubectl,
    timeline,
)

__all__ += ["clock", "cove_environment", "faults", "k8s", "kubectl", "timeline"]
