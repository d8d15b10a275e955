"""Certificates: who asks gets one that the server knows, and why others get none."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from world import World

from cove.client import ManualClock
from cove.controllers import Manager
from cove.controllers._csr import CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY, problem
from cove.controllers._resources import CERTIFICATE_SIGNING_REQUESTS
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.pki.requests import CertificateRequest, read_request

Doc = dict[str, Any]

BINDINGS = GVR("rbac.authorization.k8s.io", "v1", "clusterrolebindings")
KEY = ec.generate_private_key(ec.SECP256R1())
KEY_PEM = KEY.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)


def request(name: str, groups: Iterable[str] = (), names: Iterable[str] = ()) -> bytes:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, g) for g in groups]
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False
        )
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def body(signer: str, pem: bytes, *usages: str, **spec: Any) -> Doc:
    encoded = b64encode(pem).decode()
    return {"spec": {"signerName": signer, "request": encoded, "usages": list(usages), **spec}}


class Signing(World):
    """Requests and what becomes of them; collections of the whole cluster."""

    async def ask(self, name: str, document: Doc, *, approve: bool = True) -> Doc:
        made = await self.client.create(
            CERTIFICATE_SIGNING_REQUESTS, {"metadata": {"name": name}, **document}
        )
        if approve:
            made["status"] = {
                "conditions": [{"type": "Approved", "status": "True", "reason": "Test"}]
            }
            made = await self.client.update(
                CERTIFICATE_SIGNING_REQUESTS, made, subresource="approval"
            )
        return made

    async def answer(self, name: str) -> Doc:
        async with self.client.watch(
            CERTIFICATE_SIGNING_REQUESTS, field_selector=f"metadata.name={name}"
        ) as events:
            async for event in events:
                status = event.object.get("status", {})
                failed = any(c["type"] == "Failed" for c in status.get("conditions", ()))
                if status.get("certificate") or failed:
                    return event.object
        raise AssertionError("the watch ended")


@pytest.fixture
async def signing(api: EmbeddedCluster) -> AsyncIterator[Signing]:
    names = [
        "certificatesigningrequest-signing-controller",
        "certificatesigningrequest-approving-controller",
    ]
    async with Manager(api.client, controllers=names, authority=lambda: api.authority):
        yield Signing(api.client)


@pytest.mark.requires("kubectl")
async def test_a_signed_certificate_is_a_user(
    signing: Signing, api: EmbeddedCluster, tmp_path: Path
) -> None:
    await signing.client.create(
        BINDINGS,
        {
            "metadata": {"name": "readers"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "view",
            },
            "subjects": [
                {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "readers"}
            ],
        },
    )
    document = body(CLIENT, request("jane", ["readers"]), "client auth", expirationSeconds=3600)
    await signing.ask("jane", document)
    answered = await signing.answer("jane")
    config = yaml.safe_load(api.kubeconfig)
    config["users"][0]["user"] = {
        "client-certificate-data": answered["status"]["certificate"],
        "client-key-data": b64encode(KEY_PEM).decode(),
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    kubectl = Path(sys.executable).parent / "kubectl"

    async def run(*arguments: str) -> tuple[int, str]:
        import asyncio

        process = await asyncio.create_subprocess_exec(
            str(kubectl),
            f"--kubeconfig={path}",
            *arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode()

    code, text = await run("auth", "whoami", "-o", "jsonpath={.status.userInfo}")
    assert code == 0, text
    assert '"username":"jane"' in text
    assert "readers" in text
    assert (await run("get", "pods"))[0] == 0
    code, text = await run("create", "configmap", "c")
    assert code != 0
    assert 'User "jane" cannot' in text


async def test_a_certificate_holds_as_long_as_was_asked(signing: Signing) -> None:
    document = body(CLIENT, request("jane"), "client auth", expirationSeconds=7200)
    await signing.ask("jane", document)
    pem = b64decode((await signing.answer("jane"))["status"]["certificate"])
    certificate = x509.load_pem_x509_certificate(pem)
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(hours=1) < left <= timedelta(hours=2)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]


async def test_what_a_signer_does_not_sign_fails(signing: Signing) -> None:
    await signing.ask("wrong", body(CLIENT, request("jane"), "server auth"))
    (_, failed) = (await signing.answer("wrong"))["status"]["conditions"]
    assert (failed["type"], failed["reason"]) == ("Failed", "SignerValidationFailure")
    assert failed["message"].startswith("usages did not match")


async def test_unapproved_requests_and_foreign_signers_wait(signing: Signing) -> None:
    await signing.ask("unapproved", body(CLIENT, request("a"), "client auth"), approve=False)
    await signing.ask("foreign", body("example.com/mine", request("a"), "client auth"))
    await signing.ask("last", body(CLIENT, request("a"), "client auth"))
    await signing.answer("last")
    for name in ("unapproved", "foreign"):
        left = await signing.client.get(CERTIFICATE_SIGNING_REQUESTS, name)
        assert "certificate" not in left.get("status", {})


async def test_a_kubelet_that_may_ask_is_approved(signing: Signing) -> None:
    pem = request("system:node:n", ["system:nodes"])
    document = body(KUBELET_CLIENT, pem, "client auth", "digital signature")
    await signing.ask("node", document, approve=False)
    (approved,) = (await signing.answer("node"))["status"]["conditions"]
    assert (approved["type"], approved["reason"]) == ("Approved", "AutoApproved")


async def test_old_requests_are_cleaned_away(api: EmbeddedCluster) -> None:
    clock = ManualClock()
    world = Signing(api.client)
    names = ["certificatesigningrequest-cleaner-controller"]
    async with Manager(api.client, controllers=names, clock=clock) as manager:
        await world.ask("pending", body(CLIENT, request("a"), "client auth"), approve=False)
        await manager.idle()
        clock.advance(23 * 3600)
        await manager.idle()
        assert (await world.client.get(CERTIFICATE_SIGNING_REQUESTS, "pending"))["metadata"]
        for _ in range(2):
            clock.advance(3600)
            await manager.idle()
        assert not (await world.client.list(CERTIFICATE_SIGNING_REQUESTS)).items


NODE = CertificateRequest("system:node:n", ("system:nodes",), ("n",), (), (), ())


@pytest.mark.parametrize(
    ("signer", "asked", "usages", "text"),
    [
        pytest.param(KUBELET_SERVING, NODE, ("digital signature", "server auth"), "", id="serving"),
        pytest.param(
            KUBELET_SERVING,
            NODE._replace(dns=()),
            ("digital signature", "server auth"),
            "DNS or IP subjectAltName is required",
            id="serving nobody",
        ),
        pytest.param(
            KUBELET_CLIENT,
            NODE,
            ("digital signature", "client auth"),
            "DNS subjectAltNames are not allowed",
            id="a client with names",
        ),
        pytest.param(
            KUBELET_CLIENT,
            NODE._replace(organizations=("system:masters",), dns=()),
            ("digital signature", "client auth"),
            "subject organization is not system:nodes",
            id="not a node",
        ),
        pytest.param(LEGACY, NODE, ("any",), "", id="anything"),
    ],
)
def test_what_signers_ask_for(
    signer: str, asked: CertificateRequest, usages: tuple[str, ...], text: str
) -> None:
    assert problem(signer, asked, usages) == text


def test_a_request_is_read() -> None:
    found = read_request(request("jane", ["a", "b"], ["x.example"]))
    assert found == CertificateRequest("jane", ("a", "b"), ("x.example",), (), (), ())


def test_something_else_is_not() -> None:
    with pytest.raises(ValueError, match="CERTIFICATE REQUEST"):
        read_request(KEY_PEM)
