"""A real application on a cluster of one Python process, shown end to end.

Starts a cluster of its own (never yours), applies an application with the real kubectl
and kustomize, installs a chart with the real Helm, creates a custom resource, shows an
invalid one refused, waits until everything is ready and stops.  ``--keep`` leaves it up.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
BIN = Path(sysconfig.get_path("scripts"))
NAME = "demo"
NAMESPACES = ("shop", "cache")
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


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command, showing it and what it says."""
    print("   $ " + " ".join(Path(c).name if i == 0 else c for i, c in enumerate(command)))
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=False)
    for line in (done.stdout + done.stderr).splitlines():
        print(f"   {line}")
    if check and done.returncode:
        raise SystemExit(f"{command[0]} failed with exit code {done.returncode}")
    return done


def cove(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run(str(BIN / "cove"), *arguments)


def kubectl(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return run(str(BIN / "kubectl"), *arguments, check=check)


def install_chart(kubeconfig: str) -> None:
    """Helm 4 through its SDK: the same code as the binary, in a wheel."""
    import helm_python

    with helm_python.Config(kubeconfig_path=kubeconfig, namespace="cache") as config:
        release = config.install(
            str(HERE / "chart"),
            "session",
            {"replicas": 3, "memory": "96Mi"},
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the cluster up")
    keep = parser.parse_args().keep
    begun = time.monotonic()
    home = tempfile.mkdtemp(prefix="cove-demo-") if not keep else None
    if home:
        os.environ["COVE_HOME"] = home
    try:
        show(keep)
    finally:
        if not keep:
            subprocess.run([str(BIN / "cove"), "reset", "--yes", "--name", NAME], check=False)
            if home:
                Path(home, "clusters").rmdir()
                Path(home).rmdir()
    print(f"\ndone in {time.monotonic() - begun:.1f} s")
    return 0


def show(keep: bool) -> None:
    with step("a cluster"):
        cove("up", "--name", NAME, "--nodes", "3")
        path = subprocess.run(
            [str(BIN / "cove"), "kubeconfig", "--name", NAME],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        os.environ["KUBECONFIG"] = path
        kubectl("get", "nodes")
    with step("an application: kubectl apply of a kustomize overlay"):
        kubectl("apply", "-k", "app/overlays/dev")
    with step("a chart: helm install --wait"):
        install_chart(path)
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
    with step("what runs"):
        print("   (no container engine is used: the nodes simulate their pods, and say so)")
        for namespace in NAMESPACES:
            kubectl(
                "get", "deployments,services,endpointslices,pods", "-n", namespace, "-o", "wide"
            )
    width = max(len(title) for title, _ in timings)
    print("\n" + "\n".join(f"   {title.ljust(width)}  {took:6.2f} s" for title, took in timings))
    if keep:
        print(f"\nthe cluster is still up:\n   export KUBECONFIG={path}\n   kubectl get pods -A")
        print(f"   {BIN / 'cove'} reset --name {NAME}    # when you are done")


if __name__ == "__main__":
    sys.exit(main())
