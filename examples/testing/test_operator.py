"""The operator at work: every test has a cluster of its own, with the operator on it."""

import pytest
from websites import op

import cove
from cove.testing import environment, expect, operator


@environment
class Websites:
    k8s = cove.cluster()
    websites = operator(op, rbac=True)  # as the service account that `generate` writes for it


SITE = """
apiVersion: websites.example.com/v1
kind: Website
metadata: {name: home}
spec: {host: home.shop.test, text: Welcome}
"""


def test_a_website_becomes_ready(k8s):
    k8s.apply(SITE)

    def ready():
        site = k8s.get("website/home")
        expect(site.status.ready) == 2
        expect(site.status.url) == "https://home.shop.test/"

    k8s.eventually(ready)
    rule = k8s.networking.read_namespaced_ingress("home").spec.rules[0]
    assert rule.host == "home.shop.test"


def test_what_somebody_changed_is_put_right(k8s, websites):
    k8s.apply(SITE)
    k8s.eventually(lambda: expect(k8s.get("website/home").status.ready) == 2)
    k8s.core.delete_namespaced_service("home")
    k8s.eventually(lambda: k8s.exists("service/home"))
    websites.settled()


def test_children_go_with_their_website(k8s):
    k8s.apply(SITE)
    k8s.wait_for("deployment/home", "create")
    k8s.objects.delete("websites.example.com/v1", "Website", "home")
    k8s.wait_for("deployment/home", "delete")


def test_a_busy_api_server_only_makes_it_later(k8s, faults):
    refused = faults.add(503, verb="patch", resource="deployments.apps", times=2)
    k8s.apply(SITE)
    k8s.eventually(lambda: expect(k8s.get("website/home").status.ready) == 2, 30)
    assert refused.hits == 2


def test_it_needs_no_more_than_it_is_granted(k8s, websites):
    k8s.apply(SITE)
    k8s.eventually(lambda: expect(k8s.get("website/home").status.ready) == 2)
    assert not websites.report().missing


@pytest.mark.cove(after="test_a_website_becomes_ready")
def test_a_website_grows(k8s):
    k8s.objects.patch(
        {
            "apiVersion": "websites.example.com/v1",
            "kind": "Website",
            "metadata": {"name": "home"},
            "spec": {"replicas": 5},
        }
    )
    k8s.eventually(lambda: expect(k8s.get("website/home").status.ready) == 5)
