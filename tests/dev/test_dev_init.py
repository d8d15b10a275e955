"""`cove dev init`: what is proposed for a repository, and that it is a plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from cove.dev.declared import plan_of
from cove.dev.errors import ConfigurationError
from cove.dev.init import propose
from cove.dev.patterns import SyncRule
from cove.dev.plan import HelmDeploy, ManifestDeploy, Plan
from cove.host.load import load


def write(root: Path, path: str, text: str = "") -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def proposed(root: Path) -> Plan:
    """The plan of what is proposed, as somebody who takes it has it."""
    (root / "app.py").write_text(propose(root).text)
    return plan_of(load(root / "app.py"))


DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec: {template: {spec: {containers: [{name: a, image: "ghcr.io/me/api:1"}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: api}
spec: {ports: [{port: 80}]}
"""


def test_images_manifests_and_ports_are_found(tmp_path: Path) -> None:
    write(tmp_path, "api/Dockerfile", "FROM python\nWORKDIR /srv\nCOPY app ./app\n")
    write(tmp_path, "api/app/main.py")
    write(tmp_path, "k8s/api.yaml", DEPLOYMENT)
    plan = proposed(tmp_path)
    (artifact,) = plan.artifacts
    assert (artifact.name, artifact.context) == ("api", tmp_path / "api")
    assert artifact.sync == (SyncRule("app/**/*.py", "/srv/app"),)
    (deploy,) = plan.deploys
    assert isinstance(deploy, ManifestDeploy)
    assert deploy.images == {"ghcr.io/me/api": "api"}
    (forward,) = plan.forwards
    assert (forward.service, forward.port) == ("api", 80)


def test_a_chart_has_the_values_of_development_and_the_images_that_are_built(
    tmp_path: Path,
) -> None:
    write(tmp_path, "Dockerfile", "FROM scratch\nCOPY . /\n")
    write(tmp_path, "deploy/chart/Chart.yaml", "name: shop\nversion: 1.0.0\n")
    write(
        tmp_path,
        "deploy/chart/values.yaml",
        f"web: {{image: {{repository: me/{tmp_path.name}, tag: x}}}}\n",
    )
    write(tmp_path, "deploy/chart/templates/a.yaml", DEPLOYMENT)
    write(tmp_path, "deploy/values.dev.yaml", "a: b\n")
    plan = proposed(tmp_path)
    (deploy,) = plan.deploys  # what is in the chart is not deployed by itself
    assert isinstance(deploy, HelmDeploy)
    assert deploy.release.values_files == (tmp_path / "deploy/values.dev.yaml",)
    assert deploy.images == {"web.image": plan.artifacts[0].name}


def test_the_overlay_for_development_is_chosen_and_bases_are_not(tmp_path: Path) -> None:
    write(tmp_path, "k/base/kustomization.yaml", "resources: [d.yaml]\n")
    write(tmp_path, "k/base/d.yaml", DEPLOYMENT)
    write(tmp_path, "k/overlays/dev/kustomization.yaml", "resources: [../../base]\n")
    write(tmp_path, "k/overlays/prod/kustomization.yaml", "resources: [../../base]\n")
    found = propose(tmp_path)
    assert 'k8s.manifests("dev", "k/overlays/dev")' in found.text
    assert "base" not in found.text
    assert any("overlays/prod is another overlay" in remark for remark in found.remarks)


def test_files_that_are_read_as_they_are_are_told(tmp_path: Path) -> None:
    write(tmp_path, "compose.yaml", "services: {}\n")
    with pytest.raises(ConfigurationError, match=r"cove dev watch -f compose\.yaml"):
        propose(tmp_path)
    write(tmp_path, "Dockerfile", "FROM scratch\n")
    assert any("compose.yaml can be used as it is" in r for r in propose(tmp_path).remarks)


def test_nothing_to_propose_says_what_was_looked_for(tmp_path: Path) -> None:
    write(tmp_path, "node_modules/x/Dockerfile", "FROM scratch\n")
    with pytest.raises(ConfigurationError, match="no Dockerfile, chart, kustomization"):
        propose(tmp_path)
