"""The plugin as users run it: environments, forks, scopes, failures, xdist, interrupts."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from xml.etree import ElementTree

import pytest
from runs import Project
from tests.elsewhere import ENGINE

import cove
from cove.kube.gvk import GVR
from cove.testing.plugin import _spare

ENVIRONMENT = """
@environment
class Shop:
    k8s = cove.cluster()

    def setup(self):
        with open("setups", "a") as f:
            f.write("x")
        self.k8s.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "warm"}})

def made(k8s, name):
    k8s.core.create_namespaced_config_map({"metadata": {"name": name}})

def names(k8s):
    found = k8s.core.list_namespaced_config_map().items
    return sorted(c.metadata.name for c in found if c.metadata.name != "kube-root-ca.crt")
"""


# -- environments


@pytest.mark.embedded("elsewhere setup runs for every test: there are no forks")
async def test_setup_runs_once_and_every_test_starts_from_it(project: Project) -> None:
    project.write(
        "test_shop.py",
        ENVIRONMENT
        + """
def test_a(k8s):
    made(k8s, "a")
    assert names(k8s) == ["a", "warm"]

def test_b(k8s):
    made(k8s, "b")
    assert names(k8s) == ["b", "warm"]

async def test_awaited(k8s):
    found = await k8s.aio.core.list_namespaced_config_map()
    assert len(found.items) == 2

class TestGrouped:
    def test_c(self, k8s):
        assert names(k8s) == ["warm"]

import unittest

@pytest.mark.usefixtures("k8s")
class TestOld(unittest.TestCase):
    def test_d(self):
        made(self.k8s, "d")
        self.assertEqual(names(self.k8s), ["d", "warm"])
""",
    )
    outcome = await project.run()
    assert (outcome.code, outcome.counts) == (0, {"passed": 5}), outcome.text
    assert (project.root / "setups").read_text() == "x"
    assert project.left == []


@pytest.mark.embedded("it declares how many nodes there are")
async def test_an_environment_of_a_folder_and_one_of_a_module(project: Project) -> None:
    project.write("conftest.py", ENVIRONMENT)
    project.write(
        "test_own.py",
        """
        @environment
        class Own:
            k8s = cove.cluster(nodes=3)
            other = cove.cluster(nodes=0)
            def setup(self):
                self.other.apply("{apiVersion: v1, kind: Namespace, metadata: {name: here}}")

        def test_it(k8s, other):
            assert len(k8s.core.list_node().items) == 3
            assert other.core.list_node().items == []
            assert other.exists("ns/here") and not k8s.exists("ns/here")
            assert not k8s.exists("cm/warm")
        """,
    )
    project.write("test_folders.py", "def test_it(k8s):\n    assert k8s.exists('cm/warm')\n")
    outcome = await project.run()
    assert outcome.counts == {"passed": 2}, outcome.text


async def test_an_asynchronous_setup_and_one_without_anything_declared(project: Project) -> None:
    project.write(
        "test_async.py",
        """
        @environment
        class Env:
            k8s = cove.cluster()
            async def setup(self):
                await self.k8s.aio.apply("{apiVersion: v1, kind: Namespace, metadata: {name: own}}")

        def test_it(k8s):
            assert k8s.exists("ns/own")
        """,
    )
    project.write("test_default.py", "def test_it(k8s):\n    assert not k8s.exists('ns/own')\n")
    assert (await project.run()).counts == {"passed": 2}


async def test_services_run_beside_the_tests_own_cluster(project: Project) -> None:
    project.write(
        "server.py",
        """
        import http.server, os
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = os.environ.get("KUBECONFIG", "none").encode()
                self.send_response(200); self.send_header("Content-Length", str(len(body)))
                self.end_headers(); self.wfile.write(body)
            def log_message(self, *a): pass
        http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
        """,
    )
    project.write(
        "test_services.py",
        """
        import os, sys, urllib.request, yaml

        class Mail:
            made = 0
            def __enter__(self):
                Mail.made += 1
                return self
            def __exit__(self, *exc): self.closed = True

        class Queue:
            async def __aenter__(self): return ["first"]
            async def __aexit__(self, *exc): pass

        @environment
        class Env:
            k8s = cove.cluster()
            once = process([sys.executable, "server.py"], port=0, health="/")
            api = process([sys.executable, "server.py"], port=0, health="/").reference(k8s)
            mail = fake(Mail)
            queue = fake(Queue)
            shared = fake(Mail, scope="session")
            named = fake(lambda env: env.k8s.name)

        def read(url):
            return urllib.request.urlopen(url).read().decode()

        seen = {}

        @pytest.mark.parametrize("n", [1, 2])
        def test_it(k8s, once, api, mail, queue, shared, named, n):
            config = yaml.safe_load(open(read(api.url)))
            own = yaml.safe_load(k8s.kubeconfig.read_text())
            assert config["clusters"][0]["cluster"]["server"] == own["clusters"][0]["cluster"]["server"]
            assert read(once.url) == os.environ.get("KUBECONFIG", "none")
            assert queue == ["first"] and named == "k8s"
            before = seen.setdefault("once", once.url), seen.setdefault("shared", shared)
            assert before == (once.url, shared)
            assert seen.get("mail") is not mail
            seen["mail"] = mail
        """,
    )
    outcome = await project.run()
    assert outcome.counts == {"passed": 2}, outcome.text


WRONG = {
    "nothing": ("class Env:\n    x = 1\n", "the environment Env has no cluster"),
    "twice": (
        "class Env:\n    k8s = cove.cluster()\n    same = k8s\n",
        "one and the same declaration",
    ),
    "pods": ("class Env:\n    k8s = cove.cluster(pods='real')\n", 'pods is "real"'),
    "version": ("class Env:\n    k8s = cove.cluster(version='1.2')\n", 'version "1.2"'),
    "engine": ("class Env:\n    k8s = cove.cluster(engine='vm')\n", '"vm", which is no engine'),
    "private": ("class Env:\n    _k = cove.cluster()\n", "cannot be a fixture's"),
    "setup": (
        "class Env:\n    k8s = cove.cluster()\n    def setup(self): self.k8s.get('pod/no')\n",
        'pods "no" not found',
    ),
}


@pytest.mark.embedded("options that make a cluster are not read elsewhere")
async def test_what_is_declared_wrongly_is_told(project: Project) -> None:
    for name, (source, _) in WRONG.items():
        text = "@environment\n" + source + "\ndef test_it(k8s): pass\n"
        project.write(f"test_{name}.py", text)
    outcome = await project.run("--continue-on-collection-errors")
    assert outcome.counts == {"error": len(WRONG)}
    for _, told in WRONG.values():
        assert told in outcome.text


async def test_a_setup_that_fails_is_not_tried_for_every_test(project: Project) -> None:
    project.write(
        "test_fails.py",
        """
        @environment
        class Env:
            k8s = cove.cluster()
            def setup(self):
                open("tries", "a").write("x")
                raise OSError("no room")

        def test_a(k8s): pass
        def test_b(k8s): pass
        """,
    )
    outcome = await project.run()
    assert outcome.counts == {"error": 2}
    assert outcome.text.count("no room") >= 2
    assert (project.root / "tries").read_text() == "x"


# -- scopes, engines, dependencies


# An engine that this run is not on.
OTHER = "embedded" if ENGINE == "k3s" else "k3s"


async def test_scopes(project: Project) -> None:
    project.write(
        "test_scopes.py",
        ENVIRONMENT
        + """
@pytest.mark.cove(scope="class")
class TestShared:
    def test_a(self, k8s): made(k8s, "a")
    def test_b(self, k8s): assert names(k8s) == ["a", "warm"]
    @pytest.mark.cove(scope="test")
    def test_own(self, k8s): assert names(k8s) == ["warm"]
    def test_c(self, k8s): assert names(k8s) == ["a", "warm"]

def test_after(k8s):
    assert names(k8s) == ["warm"]

@pytest.mark.cove(engine="OTHER")
def test_elsewhere(k8s): assert False

@pytest.mark.cove(engine=["OTHER", "ENGINE"])
def test_here(k8s): pass
""".replace("OTHER", OTHER).replace("ENGINE", ENGINE),
    )
    outcome = await project.run("-rs")
    assert outcome.counts == {"passed": 6, "skipped": 1}, outcome.text
    assert f"needs the engine {OTHER}; this is {ENGINE}" in outcome.text


@pytest.mark.embedded("forks")
async def test_a_test_starts_from_the_end_of_another(project: Project) -> None:
    project.write(
        "test_chain.py",
        ENVIRONMENT
        + """
@pytest.mark.cove(after="test_second")
def test_third(k8s):
    assert names(k8s) == ["first", "second", "warm"]

@pytest.mark.cove(after="test_first")
def test_second(k8s):
    made(k8s, "second")

def test_first(k8s, clock):
    made(k8s, "first")
    clock.advance(hours=1)

@pytest.mark.cove(after="test_first")
def test_other(k8s, clock, timeline):
    assert names(k8s) == ["first", "warm"]
    assert clock.now().timestamp() > timeline.started + 3500

def test_fails(k8s): assert False

@pytest.mark.cove(after="test_fails")
def test_skipped(k8s): pass
""",
    )
    outcome = await project.run("-rs")
    assert outcome.counts == {"failed": 1, "passed": 4, "skipped": 1}, outcome.text
    assert "test_fails, whose end this test starts from, did not pass" in outcome.text
    distributed = await project.run("-n", "2", "--dist", "loadgroup")
    assert distributed.counts == outcome.counts, distributed.text


@pytest.mark.parametrize(
    ("marker", "told"),
    [
        ("after='test_nobody'", 'starts from the end of "test_nobody", which is not among'),
        ("after='test_it'", "these tests start from each other's end"),
        ("scope='suite'", 'the scope "suite" is none'),
        ("scoop='test'", "takes scope, engine and after by name, not scoop"),
    ],
)
async def test_markers_that_mean_nothing_are_told(project: Project, marker: str, told: str) -> None:
    project.write("test_it.py", f"@pytest.mark.cove({marker})\ndef test_it(k8s): pass\n")
    outcome = await project.run()
    assert outcome.code == 4
    assert told in outcome.text


# -- bad tests


@pytest.mark.embedded("it deletes a node and stops the server")
async def test_the_next_test_is_untouched_whatever_the_last_one_did(project: Project) -> None:
    project.write(
        "test_bad.py",
        ENVIRONMENT
        + """
import asyncio, threading, kubernetes

def test_deletes_everything(k8s):
    k8s.core.delete_collection_namespaced_config_map()
    k8s.core.create_namespace({"metadata": {"name": "gone"}})
    k8s.core.delete_namespace("gone")
    k8s.core.delete_node(k8s.core.list_node().items[0].metadata.name)

def test_1(k8s): assert names(k8s) == ["warm"] and len(k8s.core.list_node().items) == 1

def test_leaves_watches_open(k8s):
    k8s.watch("pods").__enter__()
    config = kubernetes.client.Configuration()
    kubernetes.config.load_kube_config(str(k8s.kubeconfig), client_configuration=config)
    api = kubernetes.client.CoreV1Api(kubernetes.client.ApiClient(config))
    opened = threading.Event()
    def follow():
        stream = kubernetes.watch.Watch().stream(api.list_namespaced_config_map, "default")
        for event in stream:
            opened.set()
        ended.set()
    ended = threading.Event()
    global leaked
    leaked = threading.Thread(target=follow, daemon=True)
    leaked.start()
    assert opened.wait(10)

def test_2(k8s):
    assert names(k8s) == ["warm"]

async def test_leaks_tasks(k8s):
    asyncio.create_task(k8s.aio.eventually(lambda: False, 60))
    await asyncio.sleep(0.1)

def test_3(k8s): assert names(k8s) == ["warm"]

def test_stops_the_server(k8s):
    cluster = k8s._place.running._cluster
    k8s.run(cluster.server.stop())
    with pytest.raises(cove.CoveError):
        cove_client = k8s.execute("sh", "-c", "exit 1", check=True)

def test_4(k8s):
    assert names(k8s) == ["warm"]
    assert "warm" in k8s.kubectl("get", "cm", "-o", "name").out

def test_5_the_rest_is_as_it_was(k8s, faults):
    faults.hang(verb="list")
""".replace(
            """    with pytest.raises(cove.CoveError):
        cove_client = k8s.execute("sh", "-c", "exit 1", check=True)
""",
            "",
        ),
    )
    outcome = await project.run("-p", "no:warnings")
    assert outcome.counts == {"passed": 9}, outcome.text
    assert project.left == []


@pytest.mark.embedded("faults")
async def test_a_test_that_hangs_can_be_interrupted(project: Project) -> None:
    project.write(
        "test_hangs.py",
        """
        import signal

        class TimedOut(Exception): ...

        def stop(*a): raise TimedOut

        def test_hangs(k8s, faults):
            faults.hang(verb="get", resource="configmaps")
            signal.signal(signal.SIGALRM, stop)
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(TimedOut):
                k8s.get("cm/kube-root-ca.crt")

        def test_next(k8s):
            assert k8s.get("cm/kube-root-ca.crt").data
        """,
    )
    assert (await project.run()).counts == {"passed": 2}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("workers", [(), ("-n", "2")])
async def test_a_run_that_is_ended_leaves_nothing_behind(
    project: Project, number: signal.Signals, workers: tuple[str, ...]
) -> None:
    project.write(
        "test_long.py",
        ENVIRONMENT
        + """
import time
@pytest.mark.parametrize("n", [1, 2])
def test_long(k8s, n):
    made(k8s, "a")
    open(f"running{n}", "w").close()
    time.sleep(60)
""",
    )
    process = await project.start(*workers)
    async with asyncio.timeout(30):
        while not list(project.root.glob("running*")):
            await asyncio.sleep(0.05)
    os.killpg(process.pid, number) if workers else process.send_signal(number)
    await process.communicate()
    if number == signal.SIGKILL:
        # What it could not remove the next run does.
        project.write("test_long.py", "def test_it(k8s): pass\n")
        assert (await project.run()).counts == {"passed": 1}
    assert project.left == []


# -- xdist


@pytest.mark.embedded("forks")
async def test_workers_share_one_warm_state(project: Project) -> None:
    project.write(
        "test_many.py",
        ENVIRONMENT
        + """
@pytest.mark.parametrize("n", range(12))
def test_it(k8s, n, request):
    made(k8s, f"c{n}")
    assert names(k8s) == [f"c{n}", "warm"]
    open(f"worker-{request.config.workerinput['workerid']}", "w").close()
""",
    )
    outcome = await project.run("-n", "2", "--dist", "load", "--maxschedchunk", "1")
    assert outcome.counts == {"passed": 12}, outcome.text
    assert (project.root / "setups").read_text() == "x"
    assert {p.name for p in project.root.glob("worker-*")} == {"worker-gw0", "worker-gw1"}
    assert project.left == []


async def test_only_what_failed_and_stopping_at_the_first(project: Project) -> None:
    project.write(
        "test_some.py",
        ENVIRONMENT
        + "def test_a(k8s): assert 0\ndef test_b(k8s): assert 0\ndef test_c(k8s): pass\n",
    )
    cache = ("-p", "cacheprovider", "-o", f"cache_dir={project.root / 'cache'}")
    assert (await project.run("-x", *cache)).counts["failed"] == 1
    assert (await project.run("--lf", *cache)).counts["failed"] == 1


# -- keeping


@pytest.mark.embedded("a cluster is kept; elsewhere a namespace is")
@pytest.mark.parametrize("scope", ["test", "session"])
async def test_the_cluster_of_a_failed_test_is_kept(project: Project, scope: str) -> None:
    project.write(
        "test_kept.py",
        ENVIRONMENT
        + f"pytestmark = pytest.mark.cove(scope={scope!r})\n"
        + "def test_broken(k8s):\n    made(k8s, 'evidence')\n    assert 0\n",
    )
    outcome = await project.run("--cove-keep")
    assert 'eval "$(cove env -n kept-test-broken)"' in outcome.text, outcome.text
    env = {**project.environment(), "COVE_CONTAINER_ENGINE": "none"}
    cove = str(Path(project.command()[0]).parent / "cove")
    try:
        asked = await asyncio.create_subprocess_exec(
            *(str(Path(cove).parent / "kubectl"), "get", "cm", "evidence", "-o", "name"),
            env={
                **env,
                "KUBECONFIG": str(project.home / "clusters" / "kept-test-broken" / "kubeconfig"),
            },
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await asked.communicate()
        assert out == b"configmap/evidence\n"
    finally:
        reset = await asyncio.create_subprocess_exec(
            cove, "reset", "-n", "kept-test-broken", "--yes", env=env
        )
        assert await reset.wait() == 0
    assert list((project.home / "clusters").iterdir()) == []


# -- what is told


FAILING = (
    ENVIRONMENT
    + """
def test_fails(k8s):
    made(k8s, "a")
    expect(k8s.get("cm/a").data) == {"k": "v"}

def test_asserts(k8s):
    k8s.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
               "stringData": {"password": "hunter" + str(2)}})
    assert k8s.get("cm/warm").metadata.name == "cold"

def test_passes(k8s):
    assert k8s.get("cm/warm").metadata.name == "warm"
"""
)


async def test_a_failure_tells_the_call_it_came_from(project: Project) -> None:
    project.write("test_told.py", FAILING)
    outcome = await project.run()
    assert outcome.counts == {"failed": 2, "passed": 1}
    assert "expected metadata.name == 'cold'" in outcome.text
    assert "from GET configmaps/warm" in outcome.text
    assert "hunter2" not in outcome.text


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
async def test_junit_and_the_page_have_it_too(project: Project, workers: tuple[str, ...]) -> None:
    project.write("test_told.py", FAILING)
    outcome = await project.run("--junitxml=junit.xml", "--cove-report=out/report.html", *workers)
    cases = {
        case.attrib["name"]: {p.attrib["name"]: p.attrib["value"] for p in case.iter("property")}
        for case in ElementTree.parse(project.root / "junit.xml").iter("testcase")
    }
    page = (project.root / "out" / "report.html").read_text()
    assert f"cove: 3 timelines in {project.root / 'out' / 'report.html'}" in outcome.text
    assert cases["test_asserts"]["cove.failed"] == "metadata.name == 'cold'"
    assert "configmaps/warm" in cases["test_asserts"]["cove.failed.call"]
    assert "configmaps/warm" in cases["test_asserts"]["cove.happened"]
    assert int(cases["test_passes"]["cove.calls"]) >= 1
    assert all(name in page for name in ("test_fails", "test_asserts", "test_passes"))
    assert "hunter2" not in page
    assert project.left == []


async def test_a_run_without_clusters_loads_nothing_of_them(project: Project) -> None:
    project.write("conftest.py", "")
    (project.root / "test_plain.py").write_text(
        "import sys\n"
        "def test_it():\n"
        "    heavy = {'cove.server', 'cove.engines', 'cove.testing.plugin.run', 'aiohttp', 'yaml'}\n"
        "    assert not heavy & sys.modules.keys()\n"
    )
    (project.root / "conftest.py").unlink()
    project.variables["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    outcome = await project.run("-p", "cove.testing.plugin", "-p", "no:warnings")
    assert outcome.counts == {"passed": 1}, outcome.text


async def test_the_report_says_which_engine_was_asked_for(project: Project) -> None:
    project.write("test_it.py", "def test_it(): pass\n")
    outcome = await project.run("--cove-engine=k3s", "-v")
    assert "cove: engine k3s" in outcome.text


# -- recordings


async def test_a_recorded_run_is_what_tests_start_from(project: Project) -> None:
    bin = Path(project.command()[0]).parent
    async with cove.embedded() as real:
        await real.client.create(
            GVR("", "v1", "configmaps"),
            {"metadata": {"name": "prod"}, "data": {"k": "v"}},
            "default",
        )
        record = await asyncio.create_subprocess_exec(
            *(str(bin / "cove"), "record", "-o", "prod.cove.gz", "--"),
            *(str(bin / "kubectl"), "get", "configmaps", "-o", "yaml"),
            env={**project.environment(), "KUBECONFIG": str(real.kubeconfig_path)},
            cwd=project.root,
            stdout=asyncio.subprocess.DEVNULL,
        )
        assert await record.wait() == 0
    project.write(
        "test_recorded.py",
        """
        @environment
        class Prod:
            k8s = cove.cluster(recording="prod.cove.gz")

        def test_change(k8s):
            k8s.core.patch_namespaced_config_map("prod", {"data": {"k": "other"}})
            assert k8s.get("cm/prod").data.k == "other"

        def test_again(k8s):
            assert k8s.get("cm/prod").data.k == "v"
        """,
    )
    workers = await project.run("-n", "2", "--dist", "load", "--cove-engine=existing")
    assert workers.counts == {"passed": 2}, workers.text
    project.write(
        "test_recorded.py",
        "@environment\nclass E:\n    k8s = cove.cluster(recording='no')\ndef test(k8s): pass\n",
    )
    assert "the environment E cannot be had" in (await project.run()).text


def test_modules_of_cove_are_not_rewritten_by_pytest() -> None:
    from _pytest.assertion.rewrite import AssertionRewritingHook

    class Config:
        def getini(self, _name: str) -> list[str]:
            return []

    hook = AssertionRewritingHook(Config())  # type: ignore[arg-type]
    hook.mark_rewrite("cove", "other")
    _spare([hook, object()])
    assert hook._must_rewrite == {"other"}
