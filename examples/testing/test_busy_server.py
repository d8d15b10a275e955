"""A program with its own client, while the API server misbehaves."""

import pytest
from kubernetes.client.rest import ApiException

from client import connect, remember


def test_it_waits_as_long_as_it_is_told_to(k8s, faults):
    faults.add(429, verb="patch", resource="configmaps", retry_after=7, times=2)
    waited = []
    remember(connect(str(k8s.kubeconfig)), k8s.namespace, "ada", sleep=waited.append)
    assert waited == [7.0, 7.0]
    assert "ada" in k8s.core.read_namespaced_config_map("seen").data


def test_it_gives_up_in_the_end(k8s, faults):
    fault = faults.add(503, verb="patch", resource="configmaps")
    with pytest.raises(ApiException):
        remember(connect(str(k8s.kubeconfig)), k8s.namespace, "ada", sleep=lambda _: None)
    assert fault.hits == 5


def test_a_lost_answer_is_no_lost_name(k8s, faults):
    faults.add(500, verb="create", resource="configmaps", after=True, times=1)
    remember(connect(str(k8s.kubeconfig)), k8s.namespace, "ada", sleep=lambda _: None)
    assert "ada" in k8s.core.read_namespaced_config_map("seen").data


def test_its_calls_are_on_the_timeline(k8s, timeline):
    remember(connect(str(k8s.kubeconfig)), k8s.namespace, "ada")
    calls = [(c.verb, c.resource, c.status) for c in timeline.calls if c.name == "seen"]
    assert calls[0] == ("patch", "configmaps", 404)
