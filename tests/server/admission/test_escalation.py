"""Nobody gives rights that he does not have."""

from __future__ import annotations

from typing import Any

import pytest

from cove.client import Client
from cove.engines.embedded import EmbeddedCluster, in_process_client
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.server.identity.escalation import uncovered
from cove.server.request import User

GROUP = "rbac.authorization.k8s.io"
CLUSTER_ROLES = GVR(GROUP, "v1", "clusterroles")
CLUSTER_BINDINGS = GVR(GROUP, "v1", "clusterrolebindings")
ROLES = GVR(GROUP, "v1", "roles")
BINDINGS = GVR(GROUP, "v1", "rolebindings")


def rule(groups: list[str], resources: list[str], verbs: list[str], **more: Any) -> dict[str, Any]:
    return {"apiGroups": groups, "resources": resources, "verbs": verbs, **more}


@pytest.mark.parametrize(
    ("own", "asked", "lacking"),
    [
        (rule(["*"], ["*"], ["*"]), rule(["apps"], ["x/scale"], ["get"]), 0),
        (rule([""], ["*/scale"], ["get"]), rule([""], ["x/scale", "x"], ["get"]), 1),
        (rule([""], ["x"], ["get"]), rule([""], ["x"], ["get", "list"]), 1),
        (rule([""], ["x"], ["get"], resourceNames=["a"]), rule([""], ["x"], ["get"]), 1),
        (
            rule([""], ["x"], ["get"], resourceNames=["a"]),
            rule([""], ["x"], ["get"], resourceNames=["a", "b"]),
            1,
        ),
        (
            {"nonResourceURLs": ["/healthz/*"], "verbs": ["get"]},
            {"nonResourceURLs": ["/healthz/a", "/metrics"], "verbs": ["get"]},
            1,
        ),
    ],
    ids=["all", "subresource", "verb", "named", "names", "paths"],
)
def test_covering(own: dict[str, Any], asked: dict[str, Any], lacking: int) -> None:
    assert len(uncovered([own], [asked])) == lacking


async def alice(api: EmbeddedCluster, *rules: dict[str, Any]) -> Client:
    """A user who has these rights, and may write what RBAC stores."""
    writing = rule([GROUP], ["*"], ["create", "update", "patch", "get"])
    await api.client.create(
        CLUSTER_ROLES, {"metadata": {"name": "alice"}, "rules": [writing, *rules]}
    )
    await api.client.create(
        CLUSTER_BINDINGS,
        {
            "metadata": {"name": "alice"},
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "alice"},
            "subjects": [{"apiGroup": GROUP, "kind": "User", "name": "alice"}],
        },
    )
    return in_process_client(api.api, User("alice", ("dev",)), "test")


async def test_a_role_with_rights_not_held_is_refused(api: EmbeddedCluster) -> None:
    client = await alice(api, rule([""], ["pods"], ["get"]))
    asked = rule([""], ["pods"], ["get", "list", "watch"])
    with pytest.raises(StatusError) as e:
        await client.create(ROLES, {"metadata": {"name": "r"}, "rules": [asked]}, "default")
    assert e.value.code == 403
    assert e.value.message == (
        f'roles.{GROUP} "r" is forbidden: user "alice" (groups=["dev"]) is attempting to grant '
        "RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}'
    )


async def test_escalate_and_held_rights_allow(api: EmbeddedCluster) -> None:
    client = await alice(
        api, rule([""], ["pods"], ["get"]), rule([GROUP], ["clusterroles"], ["escalate"])
    )
    held = rule([""], ["pods"], ["get"])
    await client.create(ROLES, {"metadata": {"name": "r"}, "rules": [held]}, "default")
    more = rule(["*"], ["*"], ["*"])
    await client.create(CLUSTER_ROLES, {"metadata": {"name": "r"}, "rules": [more]})


def binding(role: str, kind: str = "ClusterRole") -> dict[str, Any]:
    return {
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role},
        "subjects": [{"apiGroup": GROUP, "kind": "User", "name": "alice"}],
    }


async def test_binding_needs_the_rights_or_the_verb(api: EmbeddedCluster) -> None:
    client = await alice(api, rule([GROUP], ["clusterroles"], ["bind"], resourceNames=["edit"]))
    with pytest.raises(StatusError, match="attempting to grant RBAC permissions"):
        await client.create(BINDINGS, binding("cluster-admin"), "default")
    with pytest.raises(StatusError, match=r'^role\.rbac\.authorization\.k8s\.io "no" not found'):
        await client.create(BINDINGS, binding("no", "Role"), "default")
    await client.create(BINDINGS, binding("edit"), "default")


async def test_aggregation_is_for_administrators(api: EmbeddedCluster) -> None:
    client = await alice(api)
    with pytest.raises(StatusError, match="must have cluster-admin privileges"):
        await client.create(
            CLUSTER_ROLES,
            {"metadata": {"name": "r"}, "aggregationRule": {"clusterRoleSelectors": [{}]}},
        )
