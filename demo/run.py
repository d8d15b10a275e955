"""A real application on a cluster of one Python process, shown end to end.

Starts a cluster of its own (never yours), applies an application with the real kubectl
and kustomize, installs a chart with the real Helm, creates a custom resource, shows an
invalid one refused, waits until everything is ready and stops.  ``--keep`` leaves it up.

Where pods can run they do: the images are made here, the page is fetched through the
ingress.  On Debian, as root, what is missing for that is installed and a Docker daemon
started.  ``COVE_DEMO_ENGINE=none`` leaves the machine alone; the pods are simulated then.
Nothing is left but installed packages.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
import images

import machine
from cove.node.docker import EngineAddress, EngineError, find_engine

HERE = Path(__file__).resolve().parent
BIN = Path(sysconfig.get_path("scripts"))
NAME = "demo"
NAMESPACES = ("shop", "cache")
HOST = "shop.cove.localhost"
PATIENCE = 60.0

timings: list[tuple[str, float]] = []


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step, time it, tell how long it took."""
    print(f"\n\033[1m== {title}\033[0m" if sys.stdout.isatty() else f"\n== {title}", flush=True)
    begun = time.monotonic()
    yield
    took = time.monotonic() - begun
    timings.append((title, took))
    print(f"   {took:.2f} s", flush=True)


def run(
    *command: str, check: bool = True, folder: Path = HERE, quiet: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command, showing it and what it says unless ``quiet``."""
    if quiet:
        return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=check)
    print("   $ " + " ".join(Path(c).name if i == 0 else c for i, c in enumerate(command)))
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    for line in (done.stdout + done.stderr).splitlines():
        print(f"   {line}")
    if check and done.returncode:
        raise SystemExit(f"{command[0]} failed with exit code {done.returncode}")
    return done


def cove(
    *arguments: str, check: bool = True, quiet: bool = False
) -> subprocess.CompletedProcess[str]:
    return run(str(BIN / "cove"), *arguments, check=check, quiet=quiet)


def kubectl(
    *arguments: str, check: bool = True, folder: Path = HERE
) -> subprocess.CompletedProcess[str]:
    return run(str(BIN / "kubectl"), *arguments, check=check, folder=folder)


def container_engine(stack: ExitStack) -> EngineAddress | None:
    """What runs the pods, set up if need be; None simulates them, having said why."""
    asked = os.environ.get("COVE_DEMO_ENGINE")
    try:
        if asked == "none" or os.environ.get("COVE_CONTAINER_ENGINE") in ("none", "simulated"):
            raise machine.MachineError("so it was asked for")
        try:
            found = find_engine(asked)
        except EngineError:
            found = None  # perhaps it only has to be started
        machine.prepare(stack, engine=found is not None)
        return found or find_engine(asked)
    except (machine.MachineError, EngineError) as e:
        print(f"   pods are simulated: {e}")
        return None


def install_chart(kubeconfig: str, image: str) -> None:
    """Helm 4 through its SDK: the same code as the binary, in a wheel."""
    values: dict[str, object] = {"replicas": 3, "memory": "96Mi"}
    if image:
        repository, _, tag = image.rpartition(":")
        values["image"] = {"repository": repository, "tag": tag}
    import helm_python

    with helm_python.Config(kubeconfig_path=kubeconfig, namespace="cache") as config:
        release = config.install(
            str(HERE / "chart"),
            "session",
            values,
            namespace="cache",
            create_namespace=True,
            wait="watcher",
            timeout=int(PATIENCE),
        )
    print(
        f"   helm {helm_python.helm_sdk_version()}: release {release['name']} revision "
        f"{release['revision']} is {release['status']}: {release['notes'].strip()}"
    )


def is_ready(obj: dict[str, object]) -> bool:
    """Whether a Deployment has all its replicas."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    assert isinstance(spec, dict)
    assert isinstance(status, dict)
    return bool(status.get("readyReplicas", 0) == spec.get("replicas", 1))


async def wait_until_ready(path: str) -> None:
    """Watch the Deployments until each has all its replicas, telling progress."""
    from cove.client import Client, kubeconfig
    from cove.kube.gvk import GVR

    deployments = GVR("apps", "v1", "deployments")
    async with Client.connect(kubeconfig.load(path)) as client, asyncio.timeout(PATIENCE):
        listed = await client.list(deployments)
        known = {(o["metadata"]["namespace"], o["metadata"]["name"]): o for o in listed.items}
        told = -1
        async with client.watch(deployments, resource_version=listed.resource_version) as events:
            while True:
                ready = sum(map(is_ready, known.values()))
                if ready != told:
                    print(f"   {ready} of {len(known)} deployments are ready", flush=True)
                    told = ready
                if ready == len(known):
                    return
                event = await anext(events)
                meta = event.object["metadata"]
                known[(meta["namespace"], meta["name"])] = event.object


def overlay(home: Path, built: dict[str, str]) -> Path:
    """A copy of the application with one more overlay: the images that were made here."""
    shutil.copytree(HERE / "app", home / "app")
    here = home / "app" / "overlays" / "here"
    here.mkdir()
    chosen = []
    for name in ("web", "api", "orders"):
        repository, _, tag = built[name].rpartition(":")
        image = {"name": f"registry.example.com/shop/{name}", "newName": repository, "newTag": tag}
        chosen.append(image)
    kustomization = {"resources": ["../dev"], "images": chosen}
    (here / "kustomization.yaml").write_text(json.dumps(kustomization))
    return home


def fetch(address: str, authority: Path) -> str:
    """The page at :data:`HOST`, once the ingress has it, from who proves to be that host."""
    trust = ssl.create_default_context(cafile=authority)
    where, _, port = address.rpartition(":")
    deadline = time.monotonic() + PATIENCE
    while True:
        connection = http.client.HTTPSConnection(HOST, int(port))
        with socket.create_connection((where, int(port)), PATIENCE) as raw:
            connection.sock = trust.wrap_socket(raw, server_hostname=HOST)
            connection.request("GET", "/")
            answer = connection.getresponse()
            text = answer.read().decode()
            connection.close()
        if answer.status == 200:
            return text
        if time.monotonic() > deadline:
            raise SystemExit(f"the page is not served: {answer.status} {text}")
        time.sleep(0.2)


def show_what_runs(addresses: dict[str, str], authority: Path) -> None:
    """Requests, logs, commands and usage of pods that run."""
    https = addresses.get("COVE_HTTPS")
    if https is None:
        raise SystemExit("there is no ingress")
    with step("a page from a pod, through the ingress, over HTTPS"):
        port = https.rpartition(":")[2]
        where = HOST if port == "443" else f"{HOST}:{port}"
        print(f"   GET https://{where}/ (believing only the cluster's authority, ca.crt)")
        for line in (fetch(https, authority) + fetch(https, authority)).splitlines():
            print(f"   {line}")
    with step("logs, a command in a container, usage"):
        kubectl("logs", "-n", "shop", "deployment/web", "--all-pods", "--tail", "2")
        kubectl("exec", "-n", "shop", "orders-0", "--", "cat", "/data/orders")
        kubectl("top", "pods", "-n", "shop")


def show_application(engine: EngineAddress | None, home: Path) -> None:
    """``examples/full``: what was done by hand above, declared in a file and run whole."""
    with step("an application in one file: cove up examples/full/app.py"):
        example = home / "full"
        shutil.copytree(HERE.parent / "examples" / "full", example)
        os.environ["SHOP_PODS"] = "simulated" if engine is None else "containers"
        try:
            cove("up", str(example / "app.py"), "--detach")
            told = cove("status", "--app", "shop", "-o", "json", quiet=True).stdout
            url = next(row["url"] for row in json.loads(told) if row["name"] == "api")
            for path in ("/offers", "/pages"):
                print(f"   GET {url}{path}")
                for line in urllib.request.urlopen(url + path).read().decode().splitlines():
                    print(f"   {line}")
        finally:
            cove("down", "shop", check=False)


def _stop(number: int, frame: object) -> None:
    sys.exit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the cluster up")
    keep = parser.parse_args().keep
    begun = time.monotonic()
    signal.signal(signal.SIGTERM, _stop)
    with tempfile.TemporaryDirectory(prefix="cove-demo-") as folder, ExitStack() as stack:
        engine = container_engine(stack)
        os.environ["COVE_CONTAINER_ENGINE"] = "none" if engine is None else engine.url
        addresses: dict[str, str] = {}
        if not keep:
            os.environ["COVE_HOME"] = folder
            stack.callback(clean_up, engine, addresses)
        show(engine, Path(folder), addresses)
        if keep:
            print(f"\nthe cluster is still up:\n   export KUBECONFIG={addresses['KUBECONFIG']}")
            print(f"   kubectl get pods -A\n   {BIN / 'cove'} reset --name {NAME}    # when done")
            stack.pop_all()  # a daemon that was started for it stays, too
    print(f"\ndone in {time.monotonic() - begun:.1f} s")
    return 0


def clean_up(engine: EngineAddress | None, addresses: dict[str, str]) -> None:
    """Remove the cluster and the images."""
    subprocess.run([str(BIN / "cove"), "reset", "--yes", "--name", NAME], check=False)
    if engine is not None:
        asyncio.run(images.remove(engine, addresses.get("COVE_REGISTRY", "")))


def show(engine: EngineAddress | None, home: Path, addresses: dict[str, str]) -> None:
    """All steps; ``addresses`` is filled with what ``cove env`` says."""
    with step("a cluster"):
        cove("up", "--name", NAME, "--nodes", "3")
        told = subprocess.run(
            [str(BIN / "cove"), "env", "--name", NAME, "-o", "json"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        addresses.update(json.loads(told))
        path = os.environ["KUBECONFIG"] = addresses["KUBECONFIG"]
        kubectl("get", "nodes")
    built: dict[str, str] = {}
    folder, chosen = HERE, "dev"
    if engine is not None:
        with step("images, made of busybox here; one is pushed to the cluster's registry"):
            built = asyncio.run(images.build(engine, addresses.get("COVE_REGISTRY", "")))
            for image in built.values():
                print(f"   {image}")
            folder, chosen = overlay(home, built), "here"
    with step("an application: kubectl apply of a kustomize overlay"):
        kubectl("apply", "-k", f"app/overlays/{chosen}", folder=folder)
    with step("a chart: helm install --wait"):
        install_chart(path, built.get("cache", ""))
    with step("a kind of our own, with CEL rules"):
        kubectl("apply", "-f", "crd/cache.yaml")
        kubectl("wait", "--for", "condition=Established", "crd/caches.example.com")
        kubectl("apply", "-f", "crd/small.yaml")
        kubectl("get", "caches", "-n", "shop")
    with step("an object that breaks a rule is refused"):
        if kubectl("apply", "-f", "crd/refused.yaml", check=False).returncode == 0:
            raise SystemExit("the invalid object was accepted")
    with step("everything becomes ready"):
        asyncio.run(wait_until_ready(path))
        kubectl("rollout", "status", "-n", "shop", "statefulset/orders")
    with step("what runs"):
        if engine is None:
            print("   (no container engine is used: the nodes simulate their pods, and say so)")
        for namespace in NAMESPACES:
            kubectl(
                "get", "deployments,services,endpointslices,pods", "-n", namespace, "-o", "wide"
            )
    if engine is not None:
        show_what_runs(addresses, Path(path).parent / "ca.crt")
    show_application(engine, home)
    width = max(len(title) for title, _ in timings)
    print("\n" + "\n".join(f"   {title.ljust(width)}  {took:6.2f} s" for title, took in timings))


if __name__ == "__main__":
    sys.exit(main())
