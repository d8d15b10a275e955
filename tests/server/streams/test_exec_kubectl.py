"""kubectl exec, cp, attach and logs against containers that run, over every protocol it has."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pty
import re
from pathlib import Path

import pytest
from tests.conftest import BIN, Kubectl, execute
from tests.server.streams.conftest import make_pod
from tests.server.streams.local_kubelet import LocalKubelet, Process

from cove.engines.embedded import EmbeddedCluster
from cove.kube.status import bad_request

pytestmark = pytest.mark.requires("kubectl")

LARGE = 10 * 1024 * 1024


@pytest.fixture(params=["websocket", "spdy"])
def protocol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which protocol kubectl takes for commands."""
    use = "true" if request.param == "websocket" else "false"
    monkeypatch.setenv("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", use)
    return str(request.param)


@pytest.mark.usefixtures("protocol")
class TestExec:
    """What holds whichever protocol is spoken."""

    async def test_output_of_both_kinds_and_the_exit_code_arrive(
        self, kubectl: Kubectl, kubelet: LocalKubelet
    ) -> None:
        script = "echo out; echo err >&2; exit 3"
        done = await kubectl.attempt("exec", "web", "-c", "main", "--", "sh", "-c", script)
        assert done.code == 3
        assert done.out == "out\n"
        assert done.err == "err\ncommand terminated with exit code 3\n"

    async def test_a_command_that_succeeds_says_nothing_more(
        self, kubectl: Kubectl, kubelet: LocalKubelet
    ) -> None:
        done = await kubectl.attempt("exec", "web", "-c", "side", "--", "true")
        assert (done.code, done.out, done.err) == (0, "", "")

    async def test_input_is_given_and_its_end_is_told(
        self, kubectl: Kubectl, kubelet: LocalKubelet
    ) -> None:
        out = await kubectl("exec", "-i", "web", "-c", "main", "--", "wc", "-c", stdin="12345")
        assert out.strip() == "5"

    async def test_large_input_and_output_are_whole(
        self, real: EmbeddedCluster, kubelet: LocalKubelet
    ) -> None:
        """10 MB there and back at once."""
        data = os.urandom(LARGE)
        process = await asyncio.create_subprocess_exec(
            str(BIN / "kubectl"),
            *("exec", "-i", "web", "-c", "main", "--", "cat"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "KUBECONFIG": str(real.kubeconfig_path)},
        )
        out, _ = await process.communicate(data)
        assert process.returncode == 0
        assert hashlib.sha256(out).digest() == hashlib.sha256(data).digest()

    async def test_files_are_copied_both_ways(
        self, kubectl: Kubectl, kubelet: LocalKubelet, tmp_path: Path
    ) -> None:
        there, back = tmp_path / "there", tmp_path / "back"
        source = tmp_path / "source"
        source.mkdir()
        (source / "big").write_bytes(os.urandom(3_000_000))
        (source / "small").write_text("text")
        await kubectl("cp", str(source), f"default/web:{there}", "-c", "main")
        await kubectl("cp", f"default/web:{there}", str(back), "-c", "main")
        for name in ("big", "small"):
            assert (back / name).read_bytes() == (source / name).read_bytes()

    async def test_a_terminal_has_one_output_and_the_clients_size(
        self, real: EmbeddedCluster, kubelet: LocalKubelet
    ) -> None:
        master, slave = pty.openpty()
        os.set_blocking(master, False)
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", 'stty rows 33 cols 77; exec "$@"', "sh", str(BIN / "kubectl")),
            *("exec", "-it", "web", "-c", "main", "--", "sh"),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "KUBECONFIG": str(real.kubeconfig_path)},
        )
        os.close(slave)
        shell = await kubelet.started.get()
        assert shell.options.tty
        os.write(master, b"test -t 0 && test -t 2 && echo is''-a-terminal; exit 7\n")
        screen = await _read_all(master)
        assert await process.wait() == 7
        assert "is-a-terminal" in screen
        assert (77, 33) in shell.sizes

    async def test_attaching_reaches_what_the_container_runs(
        self, kubectl: Kubectl, kubelet: LocalKubelet
    ) -> None:
        kubelet.main = ("sh", "-c", "read line; echo got $line; exit 4")
        done = await kubectl.attempt("attach", "-i", "web", "-c", "main", stdin="hello\n")
        assert "got hello\n" in done.out
        assert done.code == 0

    @pytest.mark.parametrize(
        ("pod", "container", "text"),
        [
            ("web", "none", "container none is not valid for pod web"),
            ("done", "main", 'container "main" is not running'),
            ("unreal", "main", "is simulated: exec needs a node that runs containers"),
        ],
        ids=["container", "not running", "simulated"],
    )
    async def test_what_cannot_be_is_told(
        self, kubectl: Kubectl, real: EmbeddedCluster, pod: str, container: str, text: str
    ) -> None:
        await make_pod(real, "done", phase="Pending")
        await make_pod(real, "unreal", node="elsewhere")
        done = await kubectl.attempt("exec", pod, "-c", container, "--", "true")
        assert done.code == 1
        assert text in done.err

    async def test_the_command_is_let_go_when_the_client_vanishes(
        self, real: EmbeddedCluster, kubelet: LocalKubelet
    ) -> None:
        process, command = await _cat(real, kubelet)
        process.kill()
        await process.wait()
        await command.closed.wait()

    async def test_a_session_ends_with_the_server(
        self, real: EmbeddedCluster, kubelet: LocalKubelet
    ) -> None:
        process, command = await _cat(real, kubelet)
        await real.server.stop()
        assert command.closed.is_set()
        await process.wait()
        await real.server.start()


async def _cat(
    real: EmbeddedCluster, kubelet: LocalKubelet
) -> tuple[asyncio.subprocess.Process, Process]:
    """kubectl, and the command that it talks to by now."""
    process = await asyncio.create_subprocess_exec(
        str(BIN / "kubectl"),
        *("exec", "-i", "web", "-c", "main", "--", "cat"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "KUBECONFIG": str(real.kubeconfig_path)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"there\n")
    assert await process.stdout.readline() == b"there\n"
    return process, await kubelet.started.get()


async def _read_all(descriptor: int) -> str:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_read_pipe(lambda: protocol, os.fdopen(descriptor, "rb", 0))
    found = b""
    try:
        while data := await reader.read(4096):
            found += data
    except OSError:
        pass  # how a terminal says that nobody holds its other end
    transport.close()
    return found.decode()


async def test_who_may_only_read_pods_runs_nothing(
    real: EmbeddedCluster, kubelet: LocalKubelet, kubectl: Kubectl
) -> None:
    """A WebSocket is a GET, but needs what a POST needs."""
    rules = ["create clusterrole reader --verb=get --resource=pods,pods/exec"]
    rules += ["create clusterrolebinding reader --clusterrole=reader --user=jane"]
    for rule in rules:
        await kubectl(*rule.split())
    done = await kubectl.attempt("exec", "web", "-c", "main", "--as=jane", "--", "true")
    assert done.code == 1
    assert 'User "jane" cannot create resource "pods/exec"' in done.err
    assert kubelet.started.empty()


class TestLogs:
    """Logs of containers that run come from their node."""

    async def test_options_reach_the_node(
        self, real: EmbeddedCluster, kubectl: Kubectl, kubelet: LocalKubelet
    ) -> None:
        kubelet.lines, kubelet.previous = ["one", "two", "three"], ["old"]
        base = ("logs", "web", "-c", "main")
        assert await kubectl(*base) == "one\ntwo\nthree\n"
        assert await kubectl(*base, "--tail=1") == "three\n"
        assert await kubectl(*base, "--previous") == "old\n"
        stamped = await kubectl(*base, "--timestamps", "--tail=1")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\S+Z three\n", stamped)
        before = real.api.now()
        await kubectl(*base, "--since=60s", "--limit-bytes=9")
        options = kubelet.asked[-1]
        assert options.limit_bytes == 9
        assert options.since is not None
        assert (real.api.now() - options.since).total_seconds() >= 60
        assert (before - options.since).total_seconds() <= 60

    async def test_followed_logs_go_on_until_the_container_ends(
        self, real: EmbeddedCluster, kubelet: LocalKubelet
    ) -> None:
        kubelet.lines = ["one"]
        following = asyncio.create_task(
            execute(
                str(BIN / "kubectl"),
                *("logs", "-f", "web", "-c", "main"),
                KUBECONFIG=str(real.kubeconfig_path),
            )
        )
        await kubelet.following.wait()
        await kubelet.say("two")
        await kubelet.end()
        done = await following
        assert (done.code, done.out) == (0, "one\ntwo\n")

    async def test_the_nodes_refusal_is_the_answer(
        self, kubectl: Kubectl, kubelet: LocalKubelet
    ) -> None:
        text = 'container "main" in pod "web" is waiting to start: ContainerCreating'
        kubelet.log_error = bad_request(text)
        done = await kubectl.attempt("logs", "web", "-c", "main")
        assert (done.code, done.err) == (1, f"Error from server (BadRequest): {text}\n")

    async def test_followed_logs_end_with_the_server(
        self, real: EmbeddedCluster, kubelet: LocalKubelet
    ) -> None:
        kubelet.lines = ["one"]
        following = asyncio.create_task(
            execute(
                str(BIN / "kubectl"),
                *("logs", "-f", "web", "-c", "main"),
                KUBECONFIG=str(real.kubeconfig_path),
            )
        )
        await kubelet.following.wait()
        await real.server.stop()
        assert (await following).out == "one\n"
        await real.server.start()
