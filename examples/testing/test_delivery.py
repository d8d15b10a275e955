"""Build, push, deploy, and look at the page over HTTPS — with pods that run.

Needs Docker.  What runs is busybox, built from this machine's own binary: nothing is
downloaded.
"""

import shutil
import subprocess
from pathlib import Path

import pytest
from websites import op

import cove
from cove.testing import environment, expect, operator

BUSYBOX = Path("/bin/busybox")
DOCKERFILE = """
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
ENV PATH=/bin GREETING="{greeting}"
"""
pytestmark = pytest.mark.skipif(
    not BUSYBOX.exists() or shutil.which("docker") is None, reason="needs Docker and busybox-static"
)


def build(folder: Path, tag: str, greeting: str) -> None:
    """Build an image; the greeting makes it another one."""
    shutil.copy(BUSYBOX, folder / "busybox")
    (folder / "Dockerfile").write_text(DOCKERFILE.format(greeting=greeting))
    subprocess.run(["docker", "build", "-q", "-t", tag, folder], check=True, capture_output=True)


def deliver(k8s, folder: Path, name: str, greeting: str) -> str:
    """Build and push; what pods call the image."""
    tag = f"{k8s.registry}/{name}"
    build(folder, tag, greeting)
    try:
        subprocess.run(["docker", "push", "-q", tag], check=True, capture_output=True)
    finally:
        subprocess.run(["docker", "rmi", tag], check=True, capture_output=True)
    return f"{k8s.registry_name}/{name}"


@environment
class Shop:
    k8s = cove.cluster(pods="containers", ingress_domains=["shop.test"])
    websites = operator(op)

    def setup(self) -> None:
        self.k8s.apply("{apiVersion: v1, kind: Namespace, metadata: {name: web}}")


def site(image: str, text: str) -> dict:
    return {
        "apiVersion": "websites.example.com/v1",
        "kind": "Website",
        "metadata": {"name": "home"},
        "spec": {"host": "home.shop.test", "text": text, "replicas": 1, "image": image},
    }


def test_a_page_is_served_over_https(k8s, tmp_path):
    image = deliver(k8s, tmp_path, "web:1", "one")
    k8s.apply(site(image, "Welcome"))

    def served():
        page = k8s.ingress.get("https://home.shop.test/")
        assert (page.status, page.text) == (200, "Welcome\n")

    k8s.eventually(served, 60)


def test_a_new_image_is_rolled_out(k8s, tmp_path):
    first = deliver(k8s, tmp_path, "web:1", "one")
    k8s.apply(site(first, "$GREETING"))
    k8s.wait_for("deployment/home", "create")
    k8s.wait_rollouts("deployment/home", timeout=60)
    second = deliver(k8s, tmp_path, "web:2", "two")
    k8s.apply(site(second, "$GREETING"))
    k8s.wait_for("deployment/home", lambda d: d.spec.template.spec.containers[0].image == second)
    k8s.wait_rollouts("deployment/home", timeout=60)
    said = k8s.kubectl("exec", "deploy/home", "--", "sh", "-c", "echo $GREETING").out
    expect(said.strip()) == "two"
