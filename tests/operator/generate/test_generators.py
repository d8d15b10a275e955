"""What generators make of an operator, without asking anybody."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaged import Shop, operator

from cove.operator import EntityError, Leadership, Settings, crd
from cove.operator.generate import (
    GENERATORS,
    File,
    Options,
    Project,
    ProjectError,
    generate,
    render,
    write,
)
from cove.operator.rbac import roles

Doc = dict[str, Any]


def made(what: str, *, webhooks: bool = False, **options: Any) -> dict[str, File]:
    op = operator(webhooks=webhooks)
    return {file.path: file for file in generate(what, op, Options(**options))}


def parsed(file: File) -> Doc:
    doc: Doc = yaml.safe_load(render(file, "yaml")[1])
    return doc


def container(files: dict[str, File]) -> Doc:
    pod = files["operator/deployment"].documents[0]["spec"]["template"]["spec"]
    first: Doc = pod["containers"][0]
    return first


def test_all_is_everything_and_skipped_is_not_in_it() -> None:
    files = made("all")
    fewer = {file.path for file in generate("all", operator(), skip=["helm", "docker"])}

    assert {path.partition("/")[0] for path in files} == {
        "crds",
        "rbac",
        "operator",
        "installer",
        "Dockerfile",
        ".dockerignore",
        "chart",
    }
    assert fewer == {
        path for path in files if not path.startswith(("chart/", "Dockerfile", ".docker"))
    }
    assert list(GENERATORS) == [
        "crd",
        "rbac",
        "operator",
        "webhooks",
        "installer",
        "docker",
        "helm",
    ]


def test_definitions_are_those_of_the_types() -> None:
    assert made("crd")["crds/shops.shop.example.com"].documents == (crd(Shop),)


def test_rights_are_those_that_are_derived() -> None:
    files = made("rbac", namespace="shop")

    (account,) = files["rbac/service-account"].documents
    assert (account["metadata"]["name"], account["metadata"]["namespace"]) == (
        "shop-operator",
        "shop",
    )
    assert list(files["rbac/roles"].documents) == roles(operator(), "shop")


def test_a_deployment_has_probes_limits_and_no_more_than_it_needs() -> None:
    files = made("operator", namespace="shop", image="shop:1", module="shop.app:op")

    (deployment,) = files["operator/deployment"].documents
    pod, first = deployment["spec"]["template"]["spec"], container(files)
    assert (first["image"], first["args"]) == ("shop:1", ["run", "shop.app:op"])
    assert first["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": 8081}
    assert first["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": 8081}
    assert set(first["resources"]) == {"requests", "limits"}
    assert {e["name"]: e["valueFrom"]["fieldRef"]["fieldPath"] for e in first["env"][:2]} == {
        "POD_NAMESPACE": "metadata.namespace",
        "POD_NAME": "metadata.name",
    }
    assert pod["serviceAccountName"] == "shop-operator"
    assert pod["terminationGracePeriodSeconds"] == 40
    assert pod["securityContext"]["runAsNonRoot"]
    assert first["securityContext"]["readOnlyRootFilesystem"]


def test_a_service_leads_to_webhooks_and_metrics() -> None:
    (plain,) = made("operator")["operator/service"].documents
    (hooked,) = made("operator", webhooks=True)["operator/service"].documents

    assert plain["spec"]["ports"] == [{"name": "metrics", "port": 8080, "targetPort": 8080}]
    assert hooked["spec"]["ports"][0] == {"name": "webhooks", "port": 443, "targetPort": 9443}
    none = generate("operator", operator(Settings(metrics_port=0, health_port=0)))
    assert "operator/service" not in {file.path for file in none}
    assert "livenessProbe" not in container({file.path: file for file in none})


def test_several_replicas_elect_a_leader_and_may() -> None:
    files = {f.path: f for f in generate("all", operator(), Options(replicas=2))}
    alone = {f.path: f for f in generate("all", operator(), Options(replicas=1))}
    own = {
        f.path: f
        for f in generate("all", operator(Settings(leadership=Leadership())), Options(replicas=2))
    }

    def leases(files: dict[str, File]) -> bool:
        return "leases" in render(files["rbac/roles"], "yaml")[1]

    assert container(files)["args"][-1] == "--elect"
    assert "--elect" not in container(alone)["args"] + container(own)["args"]
    assert (leases(files), leases(alone), leases(own)) == (True, False, True)


def test_an_operator_of_its_own_namespace_is_started_so() -> None:
    files = {f.path: f for f in generate("all", operator(Settings(namespaced=True)))}

    assert container(files)["args"][-1] == "--namespaced"
    assert {d["kind"] for d in files["rbac/roles"].documents} == {"Role", "RoleBinding"}


def test_webhooks_are_shown_with_the_service_they_are_reached_by() -> None:
    (configuration,) = made("webhooks", webhooks=True, namespace="shop")[
        "webhooks/webhooks"
    ].documents

    assert configuration["kind"] == "ValidatingWebhookConfiguration"
    service = configuration["webhooks"][0]["clientConfig"]["service"]
    assert (service["namespace"], service["name"]) == ("shop", "shop-operator")
    assert made("webhooks") == {}


def test_the_installer_is_a_kustomization_with_prefix_namespace_and_image() -> None:
    files = made("installer", namespace="shop", image="host:5000/shop:1.2", prefix="my-")

    doc = parsed(files["installer/kustomization.yaml"])
    assert (doc["namespace"], doc["namePrefix"]) == ("shop", "my-")
    assert doc["images"] == [
        {"name": "host:5000/shop", "newName": "host:5000/shop", "newTag": "1.2"}
    ]
    assert doc["resources"] == ["namespace.yaml", "../crds", "../rbac", "../operator"]
    assert parsed(files["installer/namespace.yaml"])["metadata"]["name"] == "shop"


def test_roles_in_several_namespaces_are_not_moved_into_one() -> None:
    op = operator(Settings(namespaces=("one", "two")))

    files = {f.path: f for f in generate("installer", op)}

    assert "namespace" not in parsed(files["installer/kustomization.yaml"])


def test_a_dockerfile_builds_in_stages_and_runs_as_nobody() -> None:
    text = made("docker", module="shop.app:op")["Dockerfile"].text

    assert text.count("FROM python:${PYTHON}") == 2
    assert "ARG PYTHON=3.13.5-slim-bookworm\n" in text
    assert "USER 65532:65532" in text
    assert 'CMD ["run", "shop.app:op"]' in text
    assert "http" not in text
    assert "**/kubeconfig" in made("docker")[".dockerignore"].text


def test_json_is_one_document_or_a_list(tmp_path: Path) -> None:
    write(generate("all", operator(), format="json"), tmp_path, "json")

    assert json.loads((tmp_path / "rbac/roles.json").read_text())["kind"] == "List"
    assert json.loads((tmp_path / "operator/deployment.json").read_text())["kind"] == "Deployment"
    rbac = yaml.safe_load((tmp_path / "rbac/kustomization.yaml").read_text())
    assert rbac["resources"] == ["service-account.json", "roles.json"]


def test_a_dockerfile_and_an_installer_that_are_there_are_kept(tmp_path: Path) -> None:
    write(generate("all", operator()), tmp_path)
    for name in ("Dockerfile", "installer/kustomization.yaml", "crds/kustomization.yaml"):
        (tmp_path / name).write_text("# mine\n")

    states = {
        str(w.path.relative_to(tmp_path)): w.state
        for w in write(generate("all", operator(), Options(replicas=2)), tmp_path)
    }

    assert states["Dockerfile"] == states["installer/kustomization.yaml"] == "kept"
    assert (tmp_path / "Dockerfile").read_text() == "# mine\n"
    assert states["crds/kustomization.yaml"] == states["operator/deployment.yaml"] == "written"
    assert states["crds/shops.shop.example.com.yaml"] == "unchanged"


def test_generators_contact_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a generator opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setenv("KUBECONFIG", "/nowhere")

    assert generate("all", operator(webhooks=True)) == generate("all", operator(webhooks=True))


def test_a_generator_that_there_is_not_is_told() -> None:
    with pytest.raises(EntityError, match="there is no such generator: crd, rbac"):
        generate("crds", operator())


TABLE = """
[project]
name = "shop"

[tool.cove.operator]
module = "shop.app:op"
image = "registry.example.com/shop:1"
namespace = "shop"
out = "deploy"
format = "json"
skip = ["helm", "docker"]
prefix = "my-"
"""


def test_one_table_of_the_project_says_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(TABLE)
    (tmp_path / "src").mkdir()

    project = Project.find(tmp_path / "src")

    assert project == Project(
        tmp_path,
        Options(
            module="shop.app:op",
            image="registry.example.com/shop:1",
            namespace="shop",
            prefix="my-",
        ),
        tmp_path / "deploy",
        "json",
        ("helm", "docker"),
    )
    assert Project.find(Path("/")) == Project(Path("/"))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('modul = "x"', "modul is unknown; there are: module, "),
        ("image = 3", "image is to be a str, not 3"),
        ('format = "toml"', "format 'toml' is none of yaml, json"),
        ("image = ", "Invalid value"),
    ],
    ids=["key", "type", "format", "toml"],
)
def test_a_table_that_makes_no_sense_is_told_with_its_file(
    tmp_path: Path, line: str, why: str
) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.cove.operator]\n{line}\n")

    with pytest.raises(ProjectError, match=why) as caught:
        Project.find(tmp_path)

    assert str(caught.value).startswith(f"{tmp_path / 'pyproject.toml'}: [tool.cove.operator]: ")
