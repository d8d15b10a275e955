"""skaffold.yaml: what is read, and what is an error with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cove.dev.errors import ConfigurationError
from cove.dev.patterns import SyncRule
from cove.dev.plan import HelmDeploy, ManifestDeploy, Requirement
from cove.dev.skaffold import read
from cove.dev.templates import render
from cove.host.images import Built

WHOLE = """apiVersion: skaffold/v4beta6
kind: Config
metadata: {name: shop}
build:
  tagPolicy: {gitCommit: {}}
  local: {push: false}
  artifacts:
  - image: gcr.io/shop/base
    context: base
  - image: gcr.io/shop/web
    context: web
    requires: [{image: gcr.io/shop/base, alias: BASE}]
    docker:
      dockerfile: deploy/Dockerfile
      target: dev
      buildArgs: {MODE: "{{.MODE}}"}
    sync:
      manual:
      - {src: 'src/**/*.py', dest: app, strip: src/}
      infer: ['static/**']
manifests:
  rawYaml: [k8s/*.yaml]
  kustomize: {paths: [overlays/dev]}
  helm:
    releases:
    - name: db
      chartPath: charts/db
      namespace: data
      valuesFiles: [values.dev.yaml]
      setValues: {auth.user: dev, auth: {password: x}}
      setValueTemplates: {image.tag: "{{.IMAGE_TAG_gcr_io_shop_web}}"}
      version: 1.2.3
portForward:
- {resourceType: service, resourceName: web, port: 80, localPort: 9000}
profiles:
- name: big
  activation: [{env: SIZE=big}]
  patches:
  - {op: replace, path: /build/artifacts/1/docker/target, value: big}
  - {op: add, path: /build/artifacts/-, value: {image: more}}
- name: elsewhere
  deploy: {kubeContext: other}
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "skaffold.yaml"
    file.write_text(text)
    return file


def test_everything_that_is_supported_is_read(tmp_path: Path) -> None:
    plan = read(write(tmp_path, WHOLE), environ={"MODE": "m"})
    base, web = plan.artifacts
    assert plan.name == "shop"
    assert base.context == tmp_path / "base"
    assert (web.dockerfile, web.target, web.args) == ("deploy/Dockerfile", "dev", {"MODE": "m"})
    assert web.requires == (Requirement("gcr.io/shop/base", "BASE"),)
    assert web.sync == (SyncRule("src/**/*.py", "/app", "src/"),)
    assert web.sync[0].place("src/a/b.py") == "/app/a/b.py"
    assert web.infer == ("static/**",)
    raw, kustomize, release = plan.ordered()
    assert isinstance(raw, ManifestDeploy)
    assert raw.patterns == ("k8s/*.yaml",)
    assert isinstance(kustomize, ManifestDeploy)
    assert kustomize.paths == (tmp_path / "overlays/dev",)
    assert isinstance(release, HelmDeploy)
    assert release.release.namespace == "data"
    assert release.release.set == {"auth.user": "dev", "auth.password": "x"}
    assert release.templates == {"image.tag": "{{.IMAGE_TAG_gcr_io_shop_web}}"}
    (forward,) = plan.forwards
    assert (forward.service, forward.port, forward.local_port) == ("web", 80, 9000)
    assert any("tagPolicy" in remark for remark in plan.remarks)


def test_profiles_are_named_or_activated_and_patch_or_overlay(tmp_path: Path) -> None:
    file = write(tmp_path, WHOLE)
    activated = read(file, environ={"MODE": "m", "SIZE": "big"})
    assert [a.name for a in activated.artifacts][-1] == "more"
    assert activated.artifacts[1].target == "big"
    off = read(file, environ={"MODE": "m", "SIZE": "big"}, profiles=["-big"])
    assert off.artifacts[1].target == "dev"
    named = read(file, environ={"MODE": "m"}, profiles=["elsewhere"])
    assert named.cluster.options.context == "other"
    with pytest.raises(ConfigurationError, match=r'no profile "nope" \(there are big, elsewhere\)'):
        read(file, environ={"MODE": "m"}, profiles=["nope"])


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        pytest.param(
            "    context: web",
            "    contxt: web",
            11,
            r'build.artifacts\[1\].contxt is not a field .*is "context" meant\?',
            id="misspelt",
        ),
        pytest.param("portForward:", "portForwards:", 33, "is not a field", id="at the top"),
        pytest.param(
            "dockerfile: deploy/Dockerfile", "dockerfile: [x]", 14, "a text", id="wrong type"
        ),
        pytest.param(
            "    context: base", "    jib: {}", 9, "Dockerfiles alone", id="another builder"
        ),
        pytest.param("v4beta6", "v9", 1, "is not read", id="another version"),
        pytest.param("resourceType: service", "resourceType: pod", 34, "services are", id="a pod"),
        pytest.param(
            "path: /build/artifacts/1/docker", "path: /build/nothing", 39, "there is no", id="patch"
        ),
        pytest.param("name: db\n", "name: DB_\n", 26, "lower case", id="a release's name"),
        pytest.param("kind: Config", "kind: Config\nkind: Config", 3, "twice|already", id="twice"),
    ],
)
def test_what_is_wrong_has_its_line(
    tmp_path: Path, old: str, new: str, line: int, told: str
) -> None:
    file = write(tmp_path, WHOLE.replace(old, new, 1))
    with pytest.raises(ConfigurationError, match=told) as failed:
        read(file, environ={"MODE": "m", "SIZE": "big"})
    assert f":{line}: " in str(failed.value) or f"line {line}" in str(failed.value)


def test_an_environment_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the environment has no MODE"):
        read(write(tmp_path, WHOLE), environ={})


def test_older_versions_have_their_manifests_below_deploy(tmp_path: Path) -> None:
    text = """apiVersion: skaffold/v2beta29
kind: Config
build: {artifacts: [{image: web}]}
deploy:
  kubectl: {manifests: [k8s/*.yaml], defaultNamespace: dev}
"""
    (deploy,) = read(write(tmp_path, text), environ={}).deploys
    assert isinstance(deploy, ManifestDeploy)
    assert (deploy.patterns, deploy.namespace) == (("k8s/*.yaml",), "dev")


def test_templates_of_values_are_filled_in() -> None:
    built = {
        "gcr.io/shop/web": Built("gcr.io/shop/web", "localhost:5000/shop/web", "abc", "sha256:1")
    }
    text = "{{.IMAGE_REPO_gcr_io_shop_web}} {{ .IMAGE_TAG }} {{.IMAGE_DOMAIN}} {{.IMAGE_REPO_NO_DOMAIN}}"
    assert render(text, built) == "localhost:5000/shop/web abc@sha256:1 localhost:5000 shop/web"
    assert render("{{.IMAGE_FULLY_QUALIFIED}}", built) == "localhost:5000/shop/web@sha256:1"
    with pytest.raises(ConfigurationError, match="there is no image other"):
        render("{{.IMAGE_TAG_other}}", built)
    with pytest.raises(ConfigurationError, match="can be filled in"):
        render("{{.OTHER}}", built)
