"""The same tests on the embedded engine and on a cluster that exists, by one flag."""

from __future__ import annotations

import pytest
from runs import Project

import cove
from cove.kube.gvk import GVR

NAMESPACES = GVR("", "v1", "namespaces")
CLUSTERROLES = GVR("rbac.authorization.k8s.io", "v1", "clusterroles")

SUITE = '''
@environment
class Shop:
    k8s = cove.cluster()

    def setup_cluster(self):
        open("once", "a").write("x")

    def setup(self):
        self.k8s.apply("""
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: i}]}}
""")
        self.k8s.wait_rollouts()

def test_calls(k8s, timeline):
    web = k8s.apps.read_namespaced_deployment("web")
    expect(web.status.ready_replicas) == 1
    assert timeline.calls[-1].name == "web"
    assert timeline.assertions[-1].call == timeline.calls[-1].id

def test_eventually(k8s):
    k8s.apps.patch_namespaced_deployment_scale("web", {"spec": {"replicas": 3}})
    k8s.eventually(lambda: expect(k8s.get("deploy/web").status.ready_replicas) == 3)

def test_is_alone(k8s):
    assert k8s.get("deploy/web").spec.replicas == 1

def test_kubectl(k8s):
    assert "web" in k8s.kubectl("get", "deploy").out

def test_official_client(k8s, timeline):
    import kubernetes
    config = kubernetes.client.Configuration()
    kubernetes.config.load_kube_config(str(k8s.kubeconfig), client_configuration=config)
    api = kubernetes.client.CoreV1Api(kubernetes.client.ApiClient(config))
    api.create_namespaced_config_map(k8s.namespace, {"metadata": {"name": "theirs"}})
    assert k8s.exists("cm/theirs")
    (call,) = [c for c in timeline.calls if c.verb == "create"]
    assert (call.resource, call.agent, call.status) == ("configmaps", "python", 201)

def test_what_is_in_no_namespace(k8s):
    k8s.rbac.create_cluster_role({"metadata": {"name": "from-a-test"}, "rules": []})
    k8s.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: elsewhere, namespace: kube-public}}")

def test_where_it_is(k8s):
    open("engine", "a").write(f"{k8s.engine} {k8s.namespace}\\n")

def test_faults(faults): pass
def test_clock(clock): pass
'''


async def test_the_same_tests_run_on_both(project: Project) -> None:
    project.write("test_shop.py", SUITE)
    here = await project.run("-rs", "--cove-engine=embedded")
    assert here.counts == {"passed": 9}, here.text

    async with cove.embedded() as elsewhere:
        project.variables["KUBECONFIG"] = str(elsewhere.kubeconfig_path)
        there = await project.run("-rs", "--cove-engine=existing")
        await elsewhere.settle()
        namespaces = (await elsewhere.client.list(NAMESPACES)).items
        roles = {r["metadata"]["name"] for r in (await elsewhere.client.list(CLUSTERROLES)).items}
        left = await elsewhere.client.list(GVR("", "v1", "configmaps"), "kube-public")

    assert there.counts == {"passed": 7, "skipped": 2}, there.text
    assert "faults need the embedded engine; k8s is existing" in there.text
    first, second = (project.root / "engine").read_text().splitlines()
    assert first == "embedded default"
    assert second.startswith("existing test-shop-")
    assert (project.root / "once").read_text() == "xx", "once in each run"
    assert not [n for n in namespaces if n["metadata"]["name"].startswith("test-")]
    assert "from-a-test" not in roles
    assert "elsewhere" not in {c["metadata"]["name"] for c in left.items}


async def test_a_namespace_stays_if_it_is_to_be_kept(project: Project) -> None:
    project.write("test_it.py", "def test_it(k8s):\n    k8s.apply(POD)\n    assert 0\n")
    project.write(
        "conftest.py",
        "import builtins\nbuiltins.POD = 'kind: ConfigMap\\napiVersion: v1\\nmetadata: {name: a}'\n",
    )
    async with cove.embedded() as elsewhere:
        project.variables["KUBECONFIG"] = str(elsewhere.kubeconfig_path)
        outcome = await project.run("--cove-engine=existing", "--cove-keep")
        kept = [
            n["metadata"]["name"]
            for n in (await elsewhere.client.list(NAMESPACES)).items
            if n["metadata"]["name"].startswith("test-")
        ]
        made = await elsewhere.client.get(GVR("", "v1", "configmaps"), "a", kept[0])
    assert f"the namespace {kept[0]}" in outcome.text
    assert made["metadata"]["name"] == "a"


async def test_a_cluster_elsewhere_is_not_used_unasked(project: Project) -> None:
    project.write("test_it.py", "def test_it(k8s): pass\n")
    (project.root / "config").write_text(
        "{apiVersion: v1, kind: Config, current-context: prod,"
        " contexts: [{name: prod, context: {cluster: c, user: u}}],"
        " clusters: [{name: c, cluster: {server: 'https://192.0.2.1:6443'}}],"
        " users: [{name: u, user: {token: t}}]}"
    )
    project.variables["KUBECONFIG"] = str(project.root / "config")
    outcome = await project.run("--cove-engine=existing")
    assert outcome.counts == {"error": 1}
    assert "prod" in outcome.text
    assert "COVE_ALLOW_CONTEXTS" in outcome.text


@pytest.mark.parametrize("scope", ["test", "module"])
async def test_scopes_are_namespaces(project: Project, scope: str) -> None:
    project.write(
        "test_it.py",
        f"""
        pytestmark = pytest.mark.cove(scope={scope!r})
        def test_a(k8s): open("seen", "a").write(k8s.namespace + "\\n")
        def test_b(k8s): open("seen", "a").write(k8s.namespace + "\\n")
        """,
    )
    async with cove.embedded() as elsewhere:
        project.variables["KUBECONFIG"] = str(elsewhere.kubeconfig_path)
        assert (await project.run("--cove-engine=existing")).counts == {"passed": 2}
    assert len(set((project.root / "seen").read_text().split())) == (2 if scope == "test" else 1)
