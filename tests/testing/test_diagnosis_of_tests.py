"""What is told when something did not happen: pods, reasons, warnings, logs — and never an error."""

from __future__ import annotations

from typing import Any

import cove
from cove.client import Client, UnreachableError
from cove.kube.gvk import GVR
from cove.testing.diagnosis import EVENTS_TOLD, PODS_TOLD, situation

PODS = GVR("", "v1", "pods")
EVENTS = GVR("", "v1", "events")
LONG = "Back-off pulling image web:1: " + "it is nowhere to be found; " * 20


def pod(name: str, namespace: str = "default", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        "status": status,
    }


def waiting(reason: str, message: str) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {
        "phase": "Pending",
        "containerStatuses": [
            {
                "name": "web",
                "image": "",
                "imageID": "",
                "ready": False,
                "restartCount": 0,
                "state": state,
            }
        ],
    }


async def put(client: Client, made: dict[str, Any]) -> None:
    namespace = made["metadata"]["namespace"]
    await client.create(PODS, made, namespace)
    await client.patch(
        PODS, made["metadata"]["name"], {"status": made["status"]}, namespace, subresource="status"
    )


def warning(number: int) -> dict[str, Any]:
    return {
        "metadata": {"name": f"w{number}", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "web", "namespace": "default"},
        "type": "Warning",
        "reason": "Failed",
        "message": f"number {number}",
        "count": 3 if number == 19 else 1,
        "lastTimestamp": f"2026-01-01T00:00:{number:02}Z",
    }


async def test_reasons_are_told_in_full_and_pods_of_the_system_too() -> None:
    async with cove.embedded(
        controllers=False, nodes=0, disable_admission=["ServiceAccount"]
    ) as cluster:
        await put(cluster.client, pod("web", **waiting("ImagePullBackOff", LONG)))
        await put(cluster.client, pod("dns", "kube-system", **waiting("CrashLoopBackOff", "again")))
        ready = [{"type": "Ready", "status": "True"}]
        await put(cluster.client, pod("fine", phase="Running", conditions=ready))
        found = await situation(cluster.client, "default")
    assert found.pods == [
        f"default/web 0/1 Pending: container web: ImagePullBackOff: {LONG}",
        "kube-system/dns 0/1 Pending: container web: CrashLoopBackOff: again",
    ]


async def test_the_last_twelve_warnings_are_told() -> None:
    async with cove.embedded(
        controllers=False, nodes=0, disable_admission=["ServiceAccount"]
    ) as cluster:
        for number in range(20):
            await cluster.client.create(EVENTS, warning(number), "default")
        await cluster.client.create(
            EVENTS, {**warning(20), "type": "Normal", "reason": "Fine"}, "default"
        )
        found = await situation(cluster.client, "default")
    assert EVENTS_TOLD == 12
    assert found.warnings[0] == "pod/web: Failed: number 8"
    assert found.warnings[-1] == "pod/web: Failed: number 19 (×3)"
    assert len(found.warnings) == 12


async def test_of_many_pods_some_are_told_and_the_rest_counted() -> None:
    async with cove.embedded(
        controllers=False, nodes=0, disable_admission=["ServiceAccount"]
    ) as cluster:
        for number in range(PODS_TOLD + 3):
            await put(cluster.client, pod(f"p{number}", phase="Pending"))
        found = await situation(cluster.client, None)
    assert len(found.pods) == PODS_TOLD + 1
    assert found.pods[-1] == "… and 3 more that are not ready"


class _Gone:
    """A transport to nowhere."""

    async def request(self, *args: Any, **options: Any) -> Any:
        raise UnreachableError("nobody listens")

    async def close(self) -> None: ...


async def test_a_cluster_that_cannot_tell_is_no_error() -> None:
    found = await situation(Client(_Gone()))  # type: ignore[arg-type]
    assert found.lines == ["the cluster cannot tell: nobody listens"]


async def test_nor_is_one_that_refuses_or_answers_nonsense() -> None:
    async with cove.embedded(
        controllers=False, nodes=0, disable_admission=["ServiceAccount"]
    ) as cluster:
        cluster.faults.error(403, resources="events", users="*")
        await put(cluster.client, pod("web", phase="Pending"))
        found = await situation(cluster.client)
    assert found.pods == ["default/web 0/1 Pending: Pending"]
    assert "forbidden" in found.problem.lower()
