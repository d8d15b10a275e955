"""Certificate requests: signers are guarded."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from cove.client import Client
from cove.engines.embedded import EmbeddedCluster, in_process_client
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.server.request import User

GROUP = "certificates.k8s.io"
REQUESTS = GVR(GROUP, "v1", "certificatesigningrequests")
RBAC = "rbac.authorization.k8s.io"
APPROVED = {"conditions": [{"type": "Approved", "status": "True", "reason": "R"}]}


def request(signer: str, group: str = "dev") -> dict[str, Any]:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "x"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, group),
        ]
    )
    csr = x509.CertificateSigningRequestBuilder().subject_name(name)
    pem = csr.sign(ec.generate_private_key(ec.SECP256R1()), SHA256()).public_bytes(Encoding.PEM)
    return {
        "metadata": {"name": "r"},
        "spec": {
            "signerName": signer,
            "usages": ["client auth"],
            "request": b64encode(pem).decode(),
        },
    }


async def approver(api: EmbeddedCluster, *names: str) -> Client:
    """Someone who may write requests, and approve and sign for these signers."""
    rules = [{"apiGroups": [GROUP], "resources": ["*"], "verbs": ["get", "update", "patch"]}]
    if names:
        rules.append(
            {
                "apiGroups": [GROUP],
                "resources": ["signers"],
                "resourceNames": list(names),
                "verbs": ["approve", "sign"],
            }
        )
    await api.client.create(
        GVR(RBAC, "v1", "clusterroles"), {"metadata": {"name": "a"}, "rules": rules}
    )
    await api.client.create(
        GVR(RBAC, "v1", "clusterrolebindings"),
        {
            "metadata": {"name": "a"},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "a"},
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": "alice"}],
        },
    )
    return in_process_client(api.api, User("alice", ()), "test")


@pytest.mark.parametrize(
    ("names", "fine"),
    [((), False), (("e.com/x",), True), (("e.com/*",), True), (("e.com/y",), False)],
    ids=["none", "exact", "domain", "other"],
)
async def test_approving(api: EmbeddedCluster, names: tuple[str, ...], fine: bool) -> None:
    client = await approver(api, *names)
    await api.client.create(REQUESTS, request("e.com/x"))

    async def approve() -> None:
        await client.patch(REQUESTS, "r", {"status": APPROVED}, subresource="approval")

    if fine:
        await approve()
        return
    with pytest.raises(StatusError) as e:
        await approve()
    assert e.value.message == (
        f'certificatesigningrequests.{GROUP} "r" is forbidden: user not permitted to approve '
        'requests with signerName "e.com/x"'
    )


async def test_signing_is_asked_only_where_something_is_signed(api: EmbeddedCluster) -> None:
    client = await approver(api)
    await api.client.create(REQUESTS, request("e.com/x"))
    await client.patch(REQUESTS, "r", {"metadata": {"labels": {"a": "b"}}}, subresource="status")
    failed = {"conditions": [{"type": "Failed", "status": "True", "reason": "R"}]}
    with pytest.raises(StatusError, match="not permitted to sign requests with signerName"):
        await client.patch(REQUESTS, "r", {"status": failed}, subresource="status")


async def test_nobody_asks_for_the_masters_group(api: EmbeddedCluster) -> None:
    signer = "kubernetes.io/kube-apiserver-client"
    await api.client.create(REQUESTS, request(signer), dry_run=True)
    with pytest.raises(StatusError) as e:
        await api.client.create(REQUESTS, request(signer, "system:masters"))
    assert e.value.message.endswith(
        f"use of {signer} signer with system:masters group is not allowed"
    )
