"""Environments whose pods run: images, ingress, names — and a copy of all of it per test."""

from __future__ import annotations

import io
import json
import socket
import ssl
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import cove
from cove.testing import Kubernetes, Timeline, environment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Response

pytestmark = [
    pytest.mark.requires("docker", "root", "caddy", "registry"),
    pytest.mark.embedded("cove's registry and ingress are not elsewhere"),
]

IMAGE = "cove.dev/testing-busybox:1"
APP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: IMAGE
        command: [sh, -c, "mkdir -p /w; hostname > /w/index.html; exec httpd -f -p 8080 -h /w"]
        readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  rules:
  - {host: web.shop.test, http: &web {paths: [{path: /, pathType: Prefix, backend: &b {service: {name: web, port: {number: 80}}}}]}}
  - {host: web.elsewhere.test, http: *web}
"""


def make_image() -> None:
    """An image of this machine's busybox, in its Docker; nothing is downloaded."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        listed = subprocess.run(
            ["/bin/busybox", "--list"], capture_output=True, text=True, check=True
        )
        for applet in listed.stdout.split():
            if applet != "busybox":
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
    docker("import", "--change", "ENV PATH=/bin", "-", IMAGE, stdin=file.getvalue())


def docker(*command: str, stdin: bytes = b"") -> str:
    done = subprocess.run(["docker", *command], input=stdin, capture_output=True, check=True)
    return done.stdout.decode().strip()


def push(k8s: Kubernetes, name: str) -> None:
    """Push the image under a name, and leave nothing of that name in the engine."""
    docker("tag", IMAGE, f"{k8s.registry}/{name}")
    try:
        docker("push", "-q", f"{k8s.registry}/{name}")
    finally:
        docker("rmi", f"{k8s.registry}/{name}")


@environment
class Shop:
    k8s = cove.cluster(pods="containers", container_engine="docker", ingress_domains=["shop.test"])

    def setup(self) -> None:
        make_image()
        push(self.k8s, "base/web:1")
        self.k8s.apply(APP.replace("IMAGE", f"{self.k8s.registry_name}/base/web:1"))
        self.k8s.wait_rollouts()


@pytest.fixture(autouse=True)
def images_are_removed(k8s: Kubernetes) -> Iterator[None]:
    yield
    for line in docker("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines():
        if line.startswith(f"{k8s.registry}/"):
            docker("rmi", "-f", line)


def catalog(k8s: Kubernetes) -> list[str]:
    """What is in the registry, as a pod is told under the name that pods know it by."""
    url = f"http://{k8s.registry_name}/v2/_catalog"
    said = k8s.kubectl("exec", "deploy/web", "--", "wget", "-qO-", url).out
    found: list[str] = json.loads(said)["repositories"]
    return found


def test_the_warm_state_runs_again_for_every_test(k8s: Kubernetes) -> None:
    pod = k8s.core.list_namespaced_pod(label_selector="app=web").items[0]
    answer = k8s.ingress.get("https://web.shop.test/")
    assert answer.text.strip() == pod.metadata.name.unwrap()
    assert pod.status.container_statuses[0].restart_count == 0


def test_images_are_pushed_and_pulled_by_the_same_name(k8s: Kubernetes) -> None:
    push(k8s, "mine/job:1")
    k8s.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "mine"},
            "spec": {
                "restartPolicy": "Never",
                "containers": [
                    {
                        "name": "c",
                        "image": f"{k8s.registry_name}/mine/job:1",
                        "command": ["echo", "it runs"],
                    }
                ],
            },
        }
    )
    k8s.wait_for("pod/mine", "jsonpath={.status.phase}=Succeeded")
    assert k8s.core.read_namespaced_pod_log("mine") == "it runs\n"
    assert catalog(k8s) == ["base/web", "mine/job"]


def test_the_registry_is_that_of_setup_and_not_of_the_last_test(k8s: Kubernetes) -> None:
    assert catalog(k8s) == ["base/web"]


def test_images_can_be_deleted_from_the_registry(k8s: Kubernetes) -> None:
    push(k8s, "gone/soon:1")
    base = f"http://{k8s.registry}/v2/gone/soon/manifests"
    accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    asked = urllib.request.Request(f"{base}/1", headers=accept)
    with urllib.request.urlopen(asked) as answer:
        digest = answer.headers["Docker-Content-Digest"]
    with urllib.request.urlopen(
        urllib.request.Request(f"{base}/{digest}", method="DELETE")
    ) as gone:
        assert gone.status == 202


# -- ingress


def test_hosts_of_the_domains_have_trusted_https_without_asking_for_it(k8s: Kubernetes) -> None:
    answer = k8s.ingress.get("https://web.shop.test/")
    with socket.create_connection(("127.0.0.1", k8s.ingress._port("https"))) as plain:
        context = k8s.ingress.ssl_context()
        with context.wrap_socket(plain, server_hostname="web.shop.test") as secure:
            shown = secure.getpeercert()
    assert answer.status == 200
    assert shown is not None
    assert ("DNS", "*.shop.test") in shown["subjectAltName"]


def test_hosts_outside_of_the_domains_stay_on_http(k8s: Kubernetes) -> None:
    assert k8s.ingress.get("http://web.elsewhere.test/").status == 200
    with pytest.raises((AssertionError, cove.CoveError)):
        k8s.ingress.get("https://web.elsewhere.test/")


def test_any_library_reaches_a_host_by_its_name(k8s: Kubernetes) -> None:
    url = k8s.ingress.url("web.shop.test")
    context = ssl.create_default_context(cafile=str(k8s.ingress.certificate_path))
    with k8s.ingress.resolving(), urllib.request.urlopen(url, context=context) as answer:
        assert answer.status == 200
    with pytest.raises(OSError, match=r"."):
        socket.getaddrinfo("web.shop.test", 443)


def test_a_host_is_registered_while_the_test_runs(k8s: Kubernetes) -> None:
    def asked(host: str) -> int:
        return k8s.kubectl("exec", "deploy/web", "--", "nslookup", host, check=False).code

    assert asked("any.thing.shop.test") == 0
    assert asked("api.later.test") != 0
    k8s.ingress.register_host("api.later.test")
    assert asked("api.later.test") == 0
    with k8s.ingress.resolving():
        assert socket.getaddrinfo("api.later.test", 80)[0][4][0] == "127.0.0.1"


def test_pods_reach_the_hosts_too(k8s: Kubernetes) -> None:
    said = k8s.kubectl(
        *("exec", "deploy/web", "--", "wget", "-qO-", "--header", "Host: web.shop.test"),
        "http://web.shop.test/",
        check=False,
    )
    assert said.out.startswith("web-"), said.err


def _opened(browser: Browser, url: str) -> tuple[Page, Response | None]:
    """The address in a page, and in another one if Chromium gave up the first for a change of network.

    Chromium drops every connection when an interface of the machine comes or goes, loopback's too, and the containers
    of the other worker's tests do that all the time. It loads such a page again by itself some time later; what is
    driven is told of the failure at once.
    """
    from playwright.sync_api import Error

    give_up = time.monotonic() + 60
    while True:
        page = browser.new_page()
        try:
            return page, page.goto(url)
        except Error as error:
            if "ERR_NETWORK_CHANGED" not in error.message or time.monotonic() > give_up:
                raise
            page.close()


@pytest.mark.requires("chromium")
def test_a_browser_trusts_the_hosts(k8s: Kubernetes) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", *k8s.ingress.browser_arguments],
        )
        try:
            page, answer = _opened(browser, k8s.ingress.url("web.shop.test"))
            assert answer is not None
            assert answer.status == 200
            assert page.inner_text("body").startswith("web-")
        finally:
            browser.close()


def test_calls_through_the_ingress_are_on_the_timeline(k8s: Kubernetes, timeline: Timeline) -> None:
    k8s.ingress.get("https://web.shop.test/x")
    call = next(c for c in timeline.calls if c.kind == "http" and c.path == "/x")
    assert (call.method, call.status) == ("GET", 404)


# -- what is left


def test_containers_are_never_those_of_another_copy(k8s: Kubernetes) -> None:
    running: Any = k8s._place.running
    mine = running.containers.nodes.driver.cluster_label
    names = "label=dev.cove.cluster"
    listed = docker("ps", "-a", "--filter", names, "--format", '{{.Label "dev.cove.cluster"}}')
    of_this_environment = {label for label in listed.splitlines() if label.startswith("k8s-")}
    assert of_this_environment == {mine}


def test_keys_are_not_left_in_the_folder_for_temporary_files(k8s: Kubernetes) -> None:
    running: Any = k8s._place.running
    folder = Path(running.data)
    keys = [p for p in folder.rglob("*") if p.is_file() and b"PRIVATE KEY" in p.read_bytes()]
    assert all(p.stat().st_mode & 0o077 == 0 for p in keys)
    assert folder.stat().st_mode & 0o077 == 0
