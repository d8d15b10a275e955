"""examples/operator-versions: three versions are one object, for users and for the controller."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.operator import Webhooks, check_round_trip
from cove.operator.definitions import crd

FILE = Path(__file__).resolve().parents[2] / "examples" / "operator-versions" / "schedules.py"
CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_schedules", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["example_schedules"] = module
    spec.loader.exec_module(module)
    return module


EXAMPLE = _load()


@pytest.fixture(autouse=True, scope="module")
def unloaded() -> Iterator[None]:
    """The module is the example's alone."""
    yield
    sys.modules.pop("example_schedules", None)


def gvr(version: str) -> GVR:
    return GVR("schedules.example.com", version, "schedules")


def document(version: str, name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"schedules.example.com/{version}",
        "kind": "Schedule",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


async def test_every_version_is_the_same_object(api: EmbeddedCluster) -> None:
    client = api.client
    versions = (EXAMPLE.Schedule, EXAMPLE.ScheduleV1Beta1, EXAMPLE.ScheduleV1Alpha1)
    await client.create(CRDS, crd(*versions))
    async with Webhooks(EXAMPLE.op, client), EXAMPLE.op.runtime(client) as runtime:
        work = asyncio.create_task(runtime.work())
        await client.create(gvr("v1alpha1"), document("v1alpha1", "old", cron="30 7"))
        times = [{"hour": 9, "minute": 5}, {"hour": 6, "minute": 0}]
        await client.create(gvr("v1"), document("v1", "new", times=times, zone="Europe/Berlin"))

        async with asyncio.timeout(10):
            while True:
                found = {
                    d["metadata"]["name"]: d
                    for d in (await client.list(gvr("v1"), "default")).items
                }
                if all(d.get("status", {}).get("next") for d in found.values()):
                    break
                await asyncio.sleep(0.01)
        assert found["old"]["spec"] == {"times": [{"hour": 7, "minute": 30}], "zone": "UTC"}
        assert found["new"]["status"]["next"] == "06:00 Europe/Berlin"

        old = await client.get(gvr("v1alpha1"), "new", "default")
        assert old["spec"] == {"cron": "5 9"}
        await client.patch(gvr("v1alpha1"), "new", {"spec": {"cron": "10 10"}}, "default")
        again = await client.get(gvr("v1"), "new", "default")
        assert again["spec"]["times"] == [{"hour": 10, "minute": 10}, {"hour": 6, "minute": 0}]
        assert again["spec"]["zone"] == "Europe/Berlin", (
            "what the old version has no place for is kept"
        )

        with pytest.raises(StatusError, match="MINUTE HOUR"):
            await client.create(gvr("v1alpha1"), document("v1alpha1", "bad", cron="daily"))
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


@given(
    st.lists(st.tuples(st.integers(0, 23), st.integers(0, 59)), min_size=1, max_size=5),
    st.sampled_from(["UTC", "Europe/Berlin"]),
)
def test_nothing_is_lost_on_the_way_there_and_back(times: list[tuple[int, int]], zone: str) -> None:
    spec = EXAMPLE.ScheduleSpec(times=[EXAMPLE.Time(hour=h, minute=m) for h, m in times], zone=zone)
    check_round_trip(EXAMPLE.op, EXAMPLE.Schedule(spec=spec))
