"""The unmodified kubectl on pods that run."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest
from docker_world import World, container
from tests.conftest import BIN, Done, execute

pytestmark = pytest.mark.requires("docker", "kubectl")

SERVE = "mkdir /tmp/w; echo page of $HOSTNAME > /tmp/w/index.html; httpd -f -v -p {port} -h /tmp/w"


class Kubectl:
    def __init__(self, world: World) -> None:
        self.kubeconfig = str(world.cluster.kubeconfig_path)

    async def __call__(self, *words: str, stdin: str = "") -> Done:
        async with asyncio.timeout(60):
            return await execute(
                str(BIN / "kubectl"), *words, stdin=stdin, KUBECONFIG=self.kubeconfig
            )

    async def begin(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            str(BIN / "kubectl"),
            *words,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "KUBECONFIG": self.kubeconfig},
        )


@pytest.fixture
def kubectl(world: World) -> Kubectl:
    return Kubectl(world)


async def test_exec_and_its_exit_code(world: World, kubectl: Kubectl) -> None:
    await world.run("sleep 1000")
    await world.running()
    done = await kubectl("exec", "p", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.code, done.out) == (3, "out\n")
    assert done.err.startswith("err\n")
    done = await kubectl("exec", "-i", "p", "--", "sha256sum", stdin="x" * 1_000_000)
    assert done.out.split()[0] == hashlib.sha256(b"x" * 1_000_000).hexdigest()
    done = await kubectl("exec", "p", "--", "/no/such")
    # As the engine says it: on the output, with the shell's exit code.
    assert done.code == 126
    assert "no such file or directory" in done.out


async def test_logs_are_followed_to_their_end(world: World, kubectl: Kubectl) -> None:
    await world.run("for n in 1 2 3; do echo line $n; sleep 0.2; done", restartPolicy="Never")
    await world.until(lambda p: p["status"].get("phase") in ("Running", "Succeeded"))
    done = await kubectl("logs", "-f", "p")
    assert done.out == "line 1\nline 2\nline 3\n"
    assert (await kubectl("logs", "--tail=1", "p")).out == "line 3\n"
    assert (await kubectl("logs", "--previous", "p")).code == 1


async def test_files_are_copied_both_ways(world: World, kubectl: Kubectl, tmp_path: Path) -> None:
    await world.run("sleep 1000")
    await world.running()
    data = os.urandom(500_000)
    (tmp_path / "there").write_bytes(data)
    done = await kubectl("cp", str(tmp_path / "there"), "p:/tmp/there")
    assert done.code == 0, done.err
    done = await kubectl("cp", "p:/tmp/there", str(tmp_path / "back"))
    assert done.code == 0, done.err
    assert (tmp_path / "back").read_bytes() == data


async def test_a_port_is_forwarded_even_of_the_pods_loopback(
    world: World, kubectl: Kubectl
) -> None:
    await world.run(SERVE.format(port="127.0.0.1:8080"))
    await world.running()
    forward = await kubectl.begin("port-forward", "pod/p", ":8080")
    try:
        assert forward.stdout is not None
        async with asyncio.timeout(30):
            line = (await forward.stdout.readline()).decode()
        port = int(line.partition("127.0.0.1:")[2].split()[0])
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            answer = await reader.read()
            writer.close()
        assert answer.endswith(b"page of p\n")
    finally:
        forward.kill()
        await forward.communicate()


async def test_attach_sees_what_the_container_says(world: World, kubectl: Kubectl) -> None:
    one = container("read line; echo heard $line; sleep 0.5", stdin=True, stdinOnce=True)
    await world.pod(containers=[one], restartPolicy="Never")
    await world.running()
    done = await kubectl("attach", "-i", "p", stdin="hello\n")
    assert "heard hello" in done.out
    assert (await world.ended())["status"]["phase"] == "Succeeded"


async def test_top_says_what_pods_use(world: World, kubectl: Kubectl) -> None:
    await world.run("while :; do :; done")
    await world.running()
    done = await kubectl("top", "pods", "--containers", "--no-headers")
    assert done.code == 0, done.err
    pod, name, cpu, memory = done.out.split()
    assert (pod, name) == ("p", "c")
    assert int(cpu.removesuffix("m")) > 50
    assert memory.endswith("Mi")
    assert "node-0" in (await kubectl("top", "nodes")).out


async def test_debug_joins_a_pod(world: World, kubectl: Kubectl) -> None:
    await world.run("sleep 1000")
    await world.running()
    done = await kubectl(
        *("debug", "p", "--image=cove.dev/busybox:3", "--profile=general", "-c", "look"),
        *("--", "sh", "-c", "echo looking"),
    )
    assert done.code == 0, done.err
    await world.until(
        lambda p: any(
            "terminated" in s["state"] for s in p["status"].get("ephemeralContainerStatuses") or ()
        )
    )
    assert (await kubectl("logs", "p", "-c", "look")).out == "looking\n"


async def test_the_api_is_reached_from_inside_a_pod_and_is_who_it_says(
    world: World, kubectl: Kubectl
) -> None:
    """With the pod's own token and certificate, through the service, by its DNS name."""
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    done = await kubectl(
        "create",
        "clusterrolebinding",
        "v",
        "--clusterrole=view",
        "--serviceaccount=default:default",
    )
    assert done.code == 0, done.err
    binary = [{"name": "k", "hostPath": {"path": str(BIN / "kubectl"), "type": "File"}}]
    one = container("sleep 1000", volumeMounts=[{"name": "k", "mountPath": "/bin/kubectl"}])
    await world.pod(containers=[one], volumes=binary)
    await world.running()
    inside = (
        "kubectl --server=https://kubernetes.default.svc "
        f"--certificate-authority={account}/ca.crt --token=$(cat {account}/token) "
        "get pods -o name"
    )
    code, text = await world.exec("sh", "-c", inside)
    assert (code, text) == (0, "pod/p\n")


@pytest.mark.requires("root")
async def test_a_service_balances_over_pods_and_forgets_those_that_go(
    world: World, kubectl: Kubectl
) -> None:
    labels = {"app": "web"}
    for name in ("one", "two"):
        await world.pod(
            name, metadata={"labels": labels}, containers=[container(SERVE.format(port=8080))]
        )
    await world.run("sleep 1000", "client")
    for name in ("one", "two", "client"):
        await world.running(name)
    done = await kubectl("create", "service", "clusterip", "web", "--tcp=80:8080")
    assert done.code == 0, done.err
    seen: set[str] = set()
    ask = "wget -qO- http://web 2>/dev/null || true"
    async with asyncio.timeout(60):
        while len(seen) < 2:
            _, text = await world.exec("sh", "-c", ask, name="client")
            seen |= set(filter(None, text.splitlines()))
    assert seen == {"page of one", "page of two"}
    await world.gone("one", grace=0)
    async with asyncio.timeout(60):
        while True:
            answers = {(await world.exec("sh", "-c", ask, name="client"))[1] for _ in range(8)}
            if answers == {"page of two\n"}:
                break
