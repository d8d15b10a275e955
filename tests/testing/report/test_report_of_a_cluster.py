"""What a real server answered, as recorded values and as a report."""

from __future__ import annotations

import re

import orjson
import pytest
from tests.conftest import Kubectl

from cove.client import Client
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.testing.recording import RecordingTransport, ServerTap, slot
from cove.testing.report import failure, properties, render
from cove.testing.timeline import Assertion, Call, Link, Timeline
from cove.testing.values import expect, unwrap, wrap

DEPLOYMENTS = GVR("apps", "v1", "deployments")
SECRETS = GVR("", "v1", "secrets")
WEB = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "shop/web:1"}]},
        },
    },
}


def recorded(client: Client, timeline: Timeline) -> Client:
    """The client, on a timeline."""
    return RecordingTransport(client.transport, timeline).client(client)


async def test_a_failure_leads_from_the_assertion_to_the_servers_answer(
    api: EmbeddedCluster,
) -> None:
    timeline = Timeline("tests/test_shop.py::test_scaled")
    client = recorded(api.client, timeline)
    await client.create(DEPLOYMENTS, WEB, "default")
    with slot() as asked:
        changed = await client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 3}}, "default")
    assert asked.last is not None
    web = wrap(changed, Link(timeline, asked.last.id))

    assert web.spec.replicas == 3
    assert web.spec.template.spec.containers[0].image_pull_policy == "IfNotPresent"
    assert web.spec.paused == None  # noqa: E711
    with pytest.raises(AttributeError, match="DeploymentSpec has no field 'replica'"):
        _ = web.spec.replica
    with pytest.raises(AssertionError, match=r"PATCH deployments/web in default → spec\.replicas"):
        expect(web.spec.replicas) == 2
    timeline.outcome, timeline.failure = "failed", "E   AssertionError: …"

    assert "expected spec.replicas == 2, but it is 3" in failure(timeline)[0]
    assert ("cove.failed.call", "PATCH deployments/web in default → spec.replicas") in properties(
        timeline
    )
    page = render([timeline])
    data = orjson.loads(re.findall(r'id="data-0">(.*?)</script>', page)[0])
    calls = {event["id"]: event for event in data["events"] if event["sort"] == "call"}
    made = [event for event in data["events"] if event["sort"] == "assertion"]
    assert {calls[event["call"]]["verb"] for event in made} == {"patch"}
    assert calls[made[0]["call"]]["response"]["spec"]["replicas"] == 3
    # What came from the server goes back to it.
    web.spec.replicas = 4
    again = await client.update(DEPLOYMENTS, unwrap(web))
    assert again["spec"]["replicas"] == 4


async def test_what_is_secret_reaches_no_report(api: EmbeddedCluster) -> None:
    timeline = Timeline("tests/test_shop.py::test_secret")
    client = recorded(api.client, timeline)
    document = {"metadata": {"name": "db"}, "stringData": {"password": "hunter-2-hunter"}}
    with slot() as asked:
        made = await client.create(SECRETS, document, "default")
    assert asked.last is not None
    secret = wrap(made, Link(timeline, asked.last.id))

    assert secret.data.password == "aHVudGVyLTItaHVudGVy"
    with pytest.raises(AssertionError):
        expect(secret.data) == {}
    timeline.outcome = "failed"

    whole = render([timeline]) + "\n".join(failure(timeline)) + str(properties(timeline))
    assert "aHVudGVy" not in whole
    assert "hunter-2" not in whole
    assert [event.passed for event in timeline.assertions] == [True, False]


@pytest.mark.embedded("the tap is in the server's process")
@pytest.mark.requires("kubectl")
async def test_other_programs_are_on_the_page_with_what_they_changed(
    cluster: EmbeddedCluster, kubectl: Kubectl
) -> None:
    timeline = Timeline("tests/test_shop.py::test_kubectl")
    with ServerTap(cluster.api, timeline):
        await kubectl("create", "configmap", "settings", "--from-literal=a=1")
        await kubectl("patch", "configmap", "settings", "-p", '{"data":{"a":"2"}}')

    patched = [call for call in timeline.calls if call.verb == "patch"]
    assert [(call.agent, call.name) for call in patched] == [("kubectl", "settings")]
    assert patched[0].before is not None
    assert patched[0].before["data"] == {"a": "1"}
    page = render([timeline])
    data = orjson.loads(re.findall(r'id="data-0">(.*?)</script>', page)[0])
    told = Timeline.from_json(data)
    assert [c.response["data"] for c in told.calls if c.verb == "patch"] == [{"a": "2"}]
    assert all(isinstance(event, (Call, Assertion)) for event in told.events)
