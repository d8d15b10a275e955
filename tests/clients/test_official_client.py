"""The official Python client: typed and dynamic, watches, leader election."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from cove.engines.embedded import EmbeddedCluster

kubernetes = pytest.importorskip("kubernetes")
# The client leaves the closing of its connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def official(cluster: EmbeddedCluster) -> Iterator[Any]:
    """An ApiClient of the cluster."""
    from kubernetes import config

    with config.new_client_from_config(str(cluster.kubeconfig_path)) as client:
        yield client
        client.rest_client.pool_manager.clear()
    gc.collect()


def pod_template() -> Any:
    from kubernetes import client as k

    return k.V1PodTemplateSpec(
        metadata=k.V1ObjectMeta(labels={"app": "web"}),
        spec=k.V1PodSpec(containers=[k.V1Container(name="main", image="nginx")]),
    )


async def test_typed_objects_are_created_read_changed_and_deleted(official: Any) -> None:
    from kubernetes import client as k

    def scenario() -> None:
        core = k.CoreV1Api(official)
        created = core.create_namespaced_config_map(
            "default",
            k.V1ConfigMap(metadata=k.V1ObjectMeta(name="config"), data={"a": "1"}),
        )
        created.data["a"] = "2"
        replaced = core.replace_namespaced_config_map("config", "default", created)
        with pytest.raises(k.ApiException) as stale:
            core.replace_namespaced_config_map("config", "default", created)
        patched = core.patch_namespaced_config_map("config", "default", {"data": {"b": "3"}})
        listed = core.list_namespaced_config_map("default", label_selector="!none")
        core.delete_namespaced_config_map("config", "default")
        with pytest.raises(k.ApiException) as missing:
            core.read_namespaced_config_map("config", "default")

        assert created.metadata.uid == replaced.metadata.uid
        assert created.metadata.creation_timestamp.tzinfo is not None
        assert stale.value.status == 409
        assert patched.data == {"a": "2", "b": "3"}
        assert "config" in [c.metadata.name for c in listed.items]
        assert missing.value.status == 404

    await asyncio.to_thread(scenario)


async def test_a_deployment_is_watched_until_it_is_ready(official: Any) -> None:
    from kubernetes import client as k
    from kubernetes import watch

    def scenario() -> tuple[list[int], list[str]]:
        apps = k.AppsV1Api(official)
        apps.create_namespaced_deployment(
            "default",
            k.V1Deployment(
                metadata=k.V1ObjectMeta(name="web"),
                spec=k.V1DeploymentSpec(
                    replicas=2,
                    selector=k.V1LabelSelector(match_labels={"app": "web"}),
                    template=pod_template(),
                ),
            ),
        )
        seen = []
        watcher = watch.Watch()
        for event in watcher.stream(apps.list_namespaced_deployment, "default", timeout_seconds=30):
            seen.append(event["object"].status.ready_replicas or 0)
            if seen[-1] == 2:
                watcher.stop()
        scale = apps.read_namespaced_deployment_scale("web", "default")
        pods = k.CoreV1Api(official).list_namespaced_pod("default", label_selector="app=web")
        assert scale.status.replicas == 2
        return seen, [p.status.phase for p in pods.items]

    seen, phases = await asyncio.to_thread(scenario)

    assert seen[-1] == 2
    assert seen == sorted(seen)
    assert phases == ["Running", "Running"]


async def test_a_watch_begins_where_a_list_ended(official: Any) -> None:
    from kubernetes import client as k
    from kubernetes import watch

    def scenario() -> list[tuple[str, str]]:
        core = k.CoreV1Api(official)
        version = core.list_namespaced_secret("default").metadata.resource_version
        for name in ("a", "b"):
            core.create_namespaced_secret(
                "default", k.V1Secret(metadata=k.V1ObjectMeta(name=name), string_data={"x": name})
            )
        core.delete_namespaced_secret("a", "default")
        watcher = watch.Watch()
        seen = []
        for event in watcher.stream(
            core.list_namespaced_secret, "default", resource_version=version, timeout_seconds=30
        ):
            seen.append((event["type"], event["object"].metadata.name))
            if len(seen) == 3:
                watcher.stop()
        return seen

    assert await asyncio.to_thread(scenario) == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")]


async def test_the_dynamic_client_applies(official: Any) -> None:
    from kubernetes import dynamic

    def scenario() -> None:
        client = dynamic.DynamicClient(official)
        api = client.resources.get(api_version="v1", kind="ConfigMap")
        doc: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "config"},
            "data": {"a": "1"},
        }

        def apply(manager: str, value: str, **options: Any) -> Any:
            body = {**doc, "data": {"a": value}}
            return api.server_side_apply(
                body=body, namespace="default", field_manager=manager, **options
            )

        apply("first", "1")
        with pytest.raises(dynamic.exceptions.ConflictError) as conflict:
            apply("second", "2")
        forced = apply("second", "2", force_conflicts=True)

        assert 'conflict with "first": .data.a' in conflict.value.summary()
        assert forced.data.to_dict() == {"a": "2"}
        assert [m.manager for m in forced.metadata.managedFields] == ["first", "second"] or [
            m.manager for m in forced.metadata.managedFields
        ] == ["second"]

    await asyncio.to_thread(scenario)


async def test_custom_objects(official: Any) -> None:
    from kubernetes import client as k

    crd = {
        "metadata": {"name": "parrots.birds.test"},
        "spec": {
            "group": "birds.test",
            "scope": "Namespaced",
            "names": {"plural": "parrots", "kind": "Parrot"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {
                                "spec": {
                                    "type": "object",
                                    "properties": {
                                        "age": {"type": "integer", "minimum": 0},
                                        "mood": {"type": "string", "default": "good"},
                                    },
                                },
                                "status": {
                                    "type": "object",
                                    "properties": {"seen": {"type": "boolean"}},
                                },
                            },
                        }
                    },
                }
            ],
        },
    }

    def scenario() -> None:
        k.ApiextensionsV1Api(official).create_custom_resource_definition(crd)
        where = ("birds.test", "v1", "default", "parrots")
        api = k.CustomObjectsApi(official)
        polly = {
            "apiVersion": "birds.test/v1",
            "kind": "Parrot",
            "metadata": {"name": "polly"},
            "spec": {"age": 3},
            "status": {"seen": True},
        }
        created = api.create_namespaced_custom_object(*where, polly)
        with pytest.raises(k.ApiException) as wrong:
            api.patch_namespaced_custom_object(*where, "polly", {"spec": {"age": -1}})
        told = api.patch_namespaced_custom_object_status(
            *where, "polly", {"status": {"seen": True}}
        )
        listed = api.list_namespaced_custom_object(*where)

        assert created["spec"] == {"age": 3, "mood": "good"}
        assert "status" not in created
        assert wrong.value.status == 422
        assert told["status"] == {"seen": True}
        assert [o["metadata"]["name"] for o in listed["items"]] == ["polly"]

    await asyncio.to_thread(scenario)


async def test_one_of_two_leads_and_the_other_follows(
    cluster: EmbeddedCluster, official: Any
) -> None:
    """Leader election over a Lease, as operators do it: by resourceVersion alone."""
    from kubernetes import client as k

    def scenario() -> tuple[list[str], str]:
        leases = k.CoordinationV1Api(official)
        won: list[str] = []
        refused: list[int] = []
        start = threading.Barrier(4)

        def candidate(name: str) -> None:
            lease = k.V1Lease(
                metadata=k.V1ObjectMeta(name="leader"),
                spec=k.V1LeaseSpec(holder_identity=name, lease_duration_seconds=15),
            )
            start.wait()
            try:
                leases.create_namespaced_lease("default", lease)
                won.append(name)
            except k.ApiException as e:
                refused.append(e.status)

        threads = [threading.Thread(target=candidate, args=(f"c{i}",)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert refused == [409] * 3
        return won, leases.read_namespaced_lease("leader", "default").spec.holder_identity

    won, holder = await asyncio.to_thread(scenario)

    assert won == [holder]


async def test_pages_and_logs_and_reviews(official: Any) -> None:
    from kubernetes import client as k

    def scenario() -> None:
        core = k.CoreV1Api(official)
        for number in range(5):
            core.create_namespaced_service_account(
                "default", k.V1ServiceAccount(metadata=k.V1ObjectMeta(name=f"robot-{number}"))
            )
        names: list[str] = []
        token = None
        while True:
            page = core.list_namespaced_service_account("default", limit=2, _continue=token)
            names += [o.metadata.name for o in page.items]
            token = page.metadata._continue
            if not token:
                break
        review = k.AuthorizationV1Api(official).create_self_subject_access_review(
            k.V1SelfSubjectAccessReview(
                spec=k.V1SelfSubjectAccessReviewSpec(
                    resource_attributes=k.V1ResourceAttributes(verb="get", resource="pods")
                )
            )
        )
        issued = core.create_namespaced_service_account_token(
            "robot-1",
            "default",
            k.AuthenticationV1TokenRequest(spec=k.V1TokenRequestSpec(audiences=[])),
        )

        assert names == ["default", *(f"robot-{n}" for n in range(5))]
        assert review.status.allowed
        assert issued.status.token.count(".") == 2

    await asyncio.to_thread(scenario)
