"""Registry, ingress, names and images of a k3s cluster, over the stand-in for its image.

The manifests that k3s would deploy are deployed by the test, into the embedded server behind
the stand-in; its pods are simulated.  What the programs in them make of their arguments is not
told here.
"""

from __future__ import annotations

import asyncio
import base64
import io
import os
import shutil
import socket
import stat
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from command import BIN
from containers_world import BOX, make_box
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from k3s_world import WAIT, Open, containers, what_is_left
from standin import Behind, behind

from cove.client import ManualClock
from cove.engines.cluster import ClusterOptions, OptionError
from cove.engines.k3s import K3sCluster, K3sError, addons, spec
from cove.engines.k3s_options import K3sOptions, for_tests
from cove.kube.gvk import GVR
from cove.node.docker.connection import Engine

Doc = dict[str, Any]

CONFIG_MAPS = GVR("", "v1", "configmaps")
SECRETS = GVR("", "v1", "secrets")
NODES = GVR("", "v1", "nodes")
PODS = GVR("", "v1", "pods")
OPTIONS = for_tests(ClusterOptions(domains=("shop.test", "a.test")))

pytestmark = pytest.mark.requires("docker", "kubectl")


async def kubectl(served: Behind, folder: Path, *arguments: str) -> str:
    config = folder / "behind.yaml"
    config.write_text(served.cluster.kubeconfig)
    process = await asyncio.create_subprocess_exec(
        str(BIN / "kubectl"),
        *arguments,
        env={"KUBECONFIG": str(config), "HOME": str(folder), "PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def deploy(served: Behind, folder: Path, files: list[Path]) -> None:
    """What k3s does with manifests it finds: here on the node of the stand-in's server."""
    [node] = (await served.cluster.client.list(NODES)).items
    name = node["metadata"]["name"]
    label = {"metadata": {"labels": {"kubernetes.io/hostname": "k8s"}}}
    await served.cluster.client.patch(NODES, name, label)
    for file in files:
        await kubectl(
            served, folder, "apply", "--server-side", "--validate=strict", "-f", str(file)
        )


@asynccontextmanager
async def entered(
    start: Open, served: Behind, tmp_path: Path, said: list[str], **options: Any
) -> AsyncIterator[tuple[K3sCluster, Path]]:
    """A cluster whose manifests were deployed as k3s would have, and what the container had."""
    cluster = start(served, domains=OPTIONS.domains, **{"k3s": OPTIONS.k3s, **options})
    entering = asyncio.ensure_future(cluster.__aenter__())
    try:
        async with asyncio.timeout(WAIT):
            while not (cluster.variants.local.exists() or entering.done()):
                await asyncio.sleep(0.05)
            found = cluster.variants.folder / "cluster" / "found"
            await deploy(served, tmp_path, sorted(found.glob("*.yaml")))
            await entering
        yield cluster, found
    finally:
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)
        if not entering.cancelled() and entering.exception() is None:
            await cluster.__aexit__(None, None, None)


def documents(text: str) -> dict[tuple[str, str], Doc]:
    docs = list(yaml.safe_load_all(text))
    return {(doc["kind"], doc["metadata"]["name"]): doc for doc in docs}


def manifests(options: ClusterOptions, *, https: bool = True) -> dict[tuple[str, str], Doc]:
    texts = addons.manifests("k8s", options, https=https).values()
    return {key: doc for text in texts for key, doc in documents(text).items()}


def pod_of(deployment: Doc) -> Doc:
    spec: Doc = deployment["spec"]["template"]["spec"]
    return spec


# -- the manifests themselves


def test_the_registry_is_plain_on_the_nodes_own_port_and_allows_deletes() -> None:
    pod = pod_of(manifests(OPTIONS)["Deployment", "cove-registry"])
    [container] = pod["containers"]
    environment = {e["name"]: e["value"] for e in container["env"]}

    assert container["image"] == "docker.io/library/registry:2"
    assert environment["REGISTRY_HTTP_ADDR"] == ":5000"
    assert environment["REGISTRY_STORAGE_DELETE_ENABLED"] == "true"
    assert not any("TLS" in name for name in environment)
    assert (pod["hostNetwork"], pod["nodeSelector"]) == (True, {"kubernetes.io/hostname": "k8s"})


def test_what_was_pushed_is_kept_with_the_clusters_data() -> None:
    pod = pod_of(manifests(OPTIONS)["Deployment", "cove-registry"])
    [volume], [mount] = pod["volumes"], pod["containers"][0]["volumeMounts"]
    environment = {e["name"]: e["value"] for e in pod["containers"][0]["env"]}

    assert volume["hostPath"]["path"].startswith("/var/lib/rancher/k3s/")
    assert environment["REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"] == mount["mountPath"]


def test_the_servers_container_has_the_registrys_name() -> None:
    place = spec.Place(network="net", token="t", folder=Path("/state"))
    for options, aliases in ((OPTIONS, ["k8s", "k8s.internal"]), (ClusterOptions(), ["k8s"])):
        config = spec.server("k8s", options, place, {})

        assert config["NetworkingConfig"]["EndpointsConfig"]["net"]["Aliases"] == aliases


def test_ingress_has_the_default_class_and_the_nodes_ports() -> None:
    found = manifests(OPTIONS)
    pod = pod_of(found["Deployment", addons.INGRESS])
    [container] = pod["containers"]

    assert pod["hostNetwork"] is True
    assert "--entrypoints.web.address=:80" in container["args"]
    assert "--entrypoints.websecure.address=:443" in container["args"]
    assert "--entrypoints.websecure.http.tls=true" in container["args"]
    annotations = found["IngressClass", addons.CLASS]["metadata"]["annotations"]
    assert annotations == {"ingressclass.kubernetes.io/is-default-class": "true"}


def test_the_default_certificate_is_mounted_so_that_the_proxy_waits_for_it() -> None:
    found = manifests(OPTIONS)
    pod = pod_of(found["Deployment", addons.INGRESS])
    mounts = {m["name"]: m for m in pod["containers"][0]["volumeMounts"]}
    told = yaml.safe_load(found["ConfigMap", addons.INGRESS]["data"]["tls.yaml"])
    default = told["tls"]["stores"]["default"]["defaultCertificate"]

    assert {"secret": {"secretName": addons.SECRET}, "name": "certificate"} in pod["volumes"]
    assert mounts["certificate"]["readOnly"] is True
    folder = mounts["certificate"]["mountPath"]
    assert default == {"certFile": f"{folder}/tls.crt", "keyFile": f"{folder}/tls.key"}
    assert (
        f"--providers.file.filename={mounts['config']['mountPath']}/tls.yaml"
        in (pod["containers"][0]["args"])
    )


@pytest.mark.parametrize(
    "found",
    [manifests(for_tests(ClusterOptions())), manifests(OPTIONS, https=False)],
    ids=["no domains", "no authority"],
)
def test_without_domains_or_authority_ingress_is_http_alone(found: dict[Any, Doc]) -> None:
    pod = pod_of(found["Deployment", addons.INGRESS])

    assert ("ConfigMap", addons.INGRESS) not in found
    assert pod["volumes"] == []
    assert not any("websecure" in a for a in pod["containers"][0]["args"])
    assert [p["hostPort"] for p in pod["containers"][0]["ports"]] == [80]


def test_no_manifest_holds_a_key() -> None:
    text = "".join(addons.manifests("k8s", OPTIONS).values())

    assert "PRIVATE KEY" not in text
    assert "kind: Secret" not in text


def test_images_of_what_runs_beside_can_be_others() -> None:
    images = {"registry": "own.test/r:1", "ingress": "own.test/i:1"}
    found = manifests(for_tests(ClusterOptions(images=images)))

    for name, image in (("cove-registry", "own.test/r:1"), (addons.INGRESS, "own.test/i:1")):
        assert pod_of(found["Deployment", name])["containers"][0]["image"] == image


def test_what_is_disabled_is_not_deployed() -> None:
    assert addons.manifests("k8s", ClusterOptions()) == {}
    assert not addons.serves_ingress(ClusterOptions(domains=("a.test",), disable=("ingress",)))
    assert manifests(for_tests(ClusterOptions(disable=("traefik",)), registry=False)) == {}


def test_a_volume_that_had_them_is_told_to_drop_what_is_not_asked_for() -> None:
    """k3s prunes what an earlier content of a file of its manifests had."""
    files = addons.files("k8s", ClusterOptions())

    assert sorted(Path(p).name for p in files) == ["cove-ingress.yaml", "cove-registry.yaml"]
    assert all(yaml.safe_load(text) is None for text in files.values())


# -- a cluster


async def test_a_tests_cluster_has_registry_ingress_names_and_certificate(
    start: Open, engine: Engine, tmp_path: Path, said: list[str]
) -> None:
    """What the container had when k3s started, what was applied, what this machine is told."""
    async with (
        behind() as served,
        entered(start, served, tmp_path, said) as (cluster, found),
    ):
        client = cluster.client
        server = (await containers(engine, cluster))["server"]
        address = server["NetworkSettings"]["Networks"][cluster.network]["IPAddress"]

        # In place before k3s started.
        assert sorted(p.name for p in found.iterdir()) == [
            "cove-ingress.yaml",
            "cove-registry.yaml",
            "cove-resolv.conf",
        ]
        gateway = server["NetworkSettings"]["Networks"][cluster.network]["Gateway"]
        assert (found / "cove-resolv.conf").read_text() == (
            f"nameserver {gateway}\noptions ndots:0\n"
        )
        # Where this machine has what.
        ports = {p["PrivatePort"]: p["PublicPort"] for p in server["Ports"]}
        assert cluster.addresses == {
            "http": f"127.0.0.1:{ports[80]}",
            "https": f"127.0.0.1:{ports[443]}",
            "registry": f"localhost:{ports[5000]}",
            "registry_name": "k8s.internal:5000",
        }
        # A certificate for the domains, and for servers alone.
        secret = await client.get(SECRETS, addons.SECRET, "kube-system")
        leaf = x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        authority = x509.load_pem_x509_certificate(cluster.authority.encode())
        leaf.verify_directly_issued_by(authority)
        assert names.get_values_for_type(x509.DNSName) == [
            "*.shop.test",
            "shop.test",
            "*.a.test",
            "a.test",
        ]
        assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
        # Names in pods, one more of them at run time.
        await cluster.register_host("pay.example")
        custom = await client.get(CONFIG_MAPS, "coredns-custom", "kube-system")
        text = custom["data"]["cove.server"]
        for name in ("k8s.internal", "shop.test", "a.test", "pay.example"):
            assert f"{name}:53 {{" in text
            assert (
                f'template IN A {name} {{\n        answer "{{{{ .Name }}}} 5 IN A {address}"'
                in (text)
            )
        # Tools are told of the registry.
        told = await client.get(CONFIG_MAPS, "local-registry-hosting", "kube-public")
        assert yaml.safe_load(told["data"]["localRegistryHosting.v1"]) == {
            "host": f"localhost:{ports[5000]}",
            "hostFromContainerRuntime": "k8s.internal:5000",
            "hostFromClusterNetwork": "k8s.internal:5000",
        }
        # No key is in a file but the authority's own, which is this user's alone.
        key = base64.b64decode(secret["data"]["tls.key"])
        for file in cluster.variants.folder.rglob("*"):
            if file.is_file():
                assert key not in file.read_bytes()
        ca = cluster.variants.folder / "ca.key"
        assert stat.S_IMODE(ca.stat().st_mode) == 0o600
    assert await what_is_left(engine, cluster) == []


async def test_a_registered_host_outlives_another_look_and_a_bad_one_is_refused(
    start: Open, tmp_path: Path, said: list[str]
) -> None:
    async with (
        behind() as served,
        entered(start, served, tmp_path, said) as (cluster, _),
    ):
        await cluster.register_host("one.example")
        await cluster.register_host("two.example")

        custom = await cluster.client.get(CONFIG_MAPS, "coredns-custom", "kube-system")
        assert "one.example:53 {" in custom["data"]["cove.server"]
        assert "two.example:53 {" in custom["data"]["cove.server"]
        with pytest.raises(OptionError, match="is no name of a host"):
            await cluster.register_host('x {\n rewrite "y" }')


async def test_without_an_authority_ingress_is_http_with_a_warning(
    start: Open, tmp_path: Path, said: list[str]
) -> None:
    empty = tmp_path / "authority"
    empty.mkdir()
    options = for_tests(ClusterOptions(domains=("shop.test",), k3s=K3sOptions(authority=empty)))
    async with (
        behind() as served,
        entered(start, served, tmp_path, said, k3s=options.k3s) as (cluster, _),
    ):
        assert any("holds no ca.crt and ca.key" in line for line in said)
        assert "https" not in cluster.addresses
        assert cluster.authority == ""
        assert "http" in cluster.addresses


async def test_what_does_not_roll_out_in_time_is_told_with_its_pods_and_warnings(
    start: Open, engine: Engine, said: list[str]
) -> None:
    clock = ManualClock()
    async with behind() as served:
        client = served.cluster.client
        pod = {
            "metadata": {"name": "svc", "namespace": "kube-system"},
            "spec": {"nodeName": "nowhere", "containers": [{"name": "c", "image": "i"}]},
        }
        await client.create(PODS, pod)
        waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such host: the end"}}
        status = {"phase": "Pending", "containerStatuses": [{"name": "c", "state": waiting}]}
        for each in status["containerStatuses"]:
            each.update(ready=False, restartCount=0, image="i", imageID="")
        await client.patch(PODS, "svc", {"status": status}, "kube-system", subresource="status")
        for i in range(14):
            event = {
                "metadata": {"name": f"e{i}", "namespace": "default"},
                "involvedObject": {"kind": "Pod", "name": "svc", "namespace": "default"},
                "type": "Warning",
                "reason": "Failed",
                "message": f"warning number {i};",
                "lastTimestamp": f"2026-01-01T00:00:{i:02}Z",
            }
            await client.create(GVR("", "v1", "events"), event)
        cluster = start(served, k3s=OPTIONS.k3s, clock=clock)
        entering = asyncio.ensure_future(cluster.__aenter__())
        async with asyncio.timeout(WAIT):
            while not entering.done():
                clock.advance(30.0)
                await asyncio.sleep(0.2)
        with pytest.raises(K3sError) as failed:
            await entering

        text = str(failed.value)
        assert await what_is_left(engine, cluster) == []
    assert "not ready after 120 s" in text
    assert "cove-registry: k3s has not deployed it yet" in text
    assert "pod svc: Pending; c waits: ImagePullBackOff: no such host: the end" in text
    assert "warning number 13;" in text
    assert text.count("\n  warning ") == 12


# -- images


async def test_an_image_of_the_engine_is_loaded_into_every_node(
    start: Open, engine: Engine
) -> None:
    if await engine.image(BOX) is None:
        await make_box(engine, BOX, {}, 'CMD ["/bin/sh"]')
    async with (
        behind(nodes=2) as served,
        start(served, agents=1, k3s=K3sOptions(load=(BOX,))) as cluster,
    ):
        for node in (await containers(engine, cluster)).values():
            id = node["Id"]
            code, left = await engine.run(id, ["/bin/ls", "/tmp"])
            assert (code, "cove-image.tar" in left) == (0, False)
            packed = await engine.docker.containers.container(id).get_archive("/tmp/imported.tar")
            member = packed.extractfile("imported.tar")
            assert member is not None
            with tarfile.open(fileobj=io.BytesIO(member.read())) as archive:
                manifest = archive.extractfile("manifest.json")
                assert manifest is not None
                assert BOX in manifest.read().decode()


async def test_an_image_that_is_not_there_to_load_is_told(start: Open, engine: Engine) -> None:
    async with behind() as served:
        cluster = start(served, k3s=K3sOptions(load=("nobody.test/x:1",)))
        with pytest.raises(K3sError, match=r"nobody.test/x:1 is to be loaded, and is not in"):
            await cluster.__aenter__()
        assert await what_is_left(engine, cluster) == []


async def test_archives_of_images_are_where_k3s_looks_for_them(
    start: Open, engine: Engine, tmp_path: Path
) -> None:
    archive = tmp_path / "k3s-airgap-images-amd64.tar"
    archive.write_bytes(b"images")
    options = K3sOptions(airgap=(archive,))
    async with behind() as served, start(served, k3s=options) as cluster:
        [node] = (await containers(engine, cluster)).values()
        path = f"/var/lib/rancher/k3s/agent/images/{archive.name}"
        code, text = await engine.run(node["Id"], ["/bin/cat", path])

    assert (code, text) == (0, "images")


def test_an_archive_that_is_not_there_is_refused_where_it_is_given(tmp_path: Path) -> None:
    options = ClusterOptions(k3s=K3sOptions(airgap=(tmp_path / "none.tar",)))

    with pytest.raises(OptionError, match="no file of that whole path is there"):
        K3sCluster("k8s", options, log=print)


# -- the registry's program


@pytest.mark.requires("registry")
async def test_the_registry_that_is_deployed_takes_pushes_and_deletes(tmp_path: Path) -> None:
    """This machine's distribution, with the environment that the manifest gives the image's.

    The configuration file is what the image has; the address and the folder are the test's.
    """
    [container] = pod_of(manifests(OPTIONS)["Deployment", "cove-registry"])["containers"]
    environment = {e["name"]: e["value"] for e in container["env"]}
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment["REGISTRY_HTTP_ADDR"] = f"127.0.0.1{environment['REGISTRY_HTTP_ADDR']}".replace(
        ":5000", f":{port}"
    )
    environment["REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"] = str(tmp_path / "data")
    config = tmp_path / "config.yml"
    config.write_text(
        "version: 0.1\nstorage:\n  filesystem: {rootdirectory: /var/lib/registry}\n"
        "http:\n  addr: :5000\n"
    )
    program = shutil.which("docker-registry")
    assert program is not None
    process = await asyncio.create_subprocess_exec(
        *(program, "serve", str(config)),
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/v2/"
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(WAIT):
            while True:
                try:
                    async with session.get(url) as answer:
                        assert answer.status == 200
                    break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.05)
            data = b"layer"
            digest = f"sha256:{sha256(data).hexdigest()}"
            async with session.post(f"{url}app/blobs/uploads/") as answer:
                upload = answer.headers["Location"]
            async with session.put(upload, params={"digest": digest}, data=data) as answer:
                assert answer.status == 201
            async with session.delete(f"{url}app/blobs/{digest}") as answer:
                assert answer.status == 202
            async with session.head(f"{url}app/blobs/{digest}") as answer:
                assert answer.status == 404
    finally:
        process.terminate()
        await process.wait()
    assert any((tmp_path / "data").rglob("*"))
