"""Compose files: services become workloads, and what is not done is an error with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cove.dev.compose import read
from cove.dev.compose._interpolate import dotenv
from cove.dev.errors import ConfigurationError
from cove.dev.patterns import SyncRule
from cove.dev.plan import ManifestDeploy, Plan

WHOLE = """name: Shop
services:
  web:
    build: {context: ., dockerfile: Dockerfile.web, args: [MODE=dev]}
    command: python -m web --port 8080
    environment: {LEVEL: "${LEVEL:-info}", DEBUG: true, PRICE: "$$5"}
    ports: ["8000:8080", "9090/udp"]
    volumes:
    - ./src:/app/src
    - cache:/cache
    - ./app.ini:/etc/app.ini:ro
    depends_on: {db_1: {condition: service_healthy}}
    deploy: {replicas: 2, resources: {limits: {cpus: "0.5", memory: 256m}}}
    stop_grace_period: 1m30s
    develop:
      watch:
      - {action: rebuild, path: requirements.txt}
    secrets: [token]
  db_1:
    image: postgres:16
    env_file: db.env
    expose: ["5432"]
    healthcheck: {test: pg_isready, interval: 2s, retries: 5}
    user: "999:999"
  tools:
    image: tools
    profiles: [debug]
volumes: {cache: {}}
secrets: {token: {file: token.txt}}
x-anything: {goes: here}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "app.ini").write_text("[a]\n")
    (tmp_path / "token.txt").write_text("secret")
    (tmp_path / "db.env").write_text("# the database\nPOSTGRES_PASSWORD='x y'\n")
    (tmp_path / "compose.yaml").write_text(WHOLE)
    return tmp_path


def plan_in(folder: Path, **environ: str) -> Plan:
    return read(folder / "compose.yaml", environ=environ)


def documents(plan: Plan, name: str) -> dict[str, Any]:
    (deploy,) = [d for d in plan.deploys if d.name == name]
    assert isinstance(deploy, ManifestDeploy)
    return {str(doc["kind"]): doc for doc in deploy.documents}


def test_a_service_is_a_deployment_and_a_service(folder: Path) -> None:
    plan = plan_in(folder, LEVEL="debug")
    found = documents(plan, "web")
    spec = found["Deployment"]["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert spec["replicas"] == 2
    assert container["args"] == ["python", "-m", "web", "--port", "8080"]
    env = {e["name"]: e["value"] for e in container["env"]}
    assert env == {"LEVEL": "debug", "DEBUG": "true", "PRICE": "$5"}
    assert container["resources"] == {"limits": {"cpu": "0.5", "memory": "256Mi"}}
    assert pod["terminationGracePeriodSeconds"] == 90
    service = found["Service"]["spec"]
    assert service["clusterIP"] == "None"
    assert [(p["port"], p["protocol"]) for p in service["ports"]] == [(8080, "TCP"), (9090, "UDP")]
    assert found["ConfigMap"]["data"] == {"app.ini": "[a]\n"}
    assert found["Secret"]["stringData"] == {"token.txt": "secret"}
    mounts = {m["mountPath"]: m for m in container["volumeMounts"]}
    assert set(mounts) == {"/cache", "/etc/app.ini", "/run/secrets/token"}
    assert mounts["/etc/app.ini"]["subPath"] == "app.ini"


def test_builds_and_mounted_sources_are_artifacts_that_sync(folder: Path) -> None:
    (artifact,) = plan_in(folder).artifacts
    assert artifact.context == folder
    assert (artifact.dockerfile, artifact.args) == ("Dockerfile.web", {"MODE": "dev"})
    assert artifact.sync == (SyncRule("src/**", "/app/src"),)
    assert artifact.rebuild_on == ("requirements.txt",)


def test_dependencies_are_order_health_is_readiness_ports_are_forwarded(folder: Path) -> None:
    plan = plan_in(folder)
    assert [d.name for d in plan.ordered()] == ["db-1", "web"]
    assert next(d for d in plan.deploys if d.name == "web").waits
    db = documents(plan, "db-1")["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    probe = db["readinessProbe"]
    assert probe["exec"]["command"] == ["sh", "-c", "pg_isready"]
    assert (probe["periodSeconds"], probe["failureThreshold"]) == (2, 5)
    assert db["securityContext"] == {"runAsUser": 999, "runAsGroup": 999}
    assert db["env"] == [{"name": "POSTGRES_PASSWORD", "value": "x y"}]
    assert [(f.service, f.port, f.local_port) for f in plan.forwards] == [("web", 8080, 8000)]
    assert any("db_1 is called db-1" in remark for remark in plan.remarks)
    assert any("tools has profiles" in remark for remark in plan.remarks)


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        pytest.param("    command: p", "    comand: p", 5, 'is "command" meant', id="misspelt"),
        pytest.param(
            "    user: ", "    network_mode: host\n    user: ", 24, "not done", id="refused"
        ),
        pytest.param('"9090/udp"', '"x"', 7, "is no port", id="a port"),
        pytest.param("./app.ini:", "./none.ini:", 11, "there is no", id="a file that is not there"),
        pytest.param('"999:999"', "postgres", 24, "by number", id="a user by name"),
        pytest.param("1m30s", "soon", 14, "is no time", id="a time"),
        pytest.param("[token]", "[other]", 18, 'secrets has no "other"', id="a secret"),
        pytest.param("$$5", "$5", 6, "written", id="a dollar"),
        pytest.param("${LEVEL:-info}", "${LEVEL:?say it}", 6, "say it", id="required"),
    ],
)
def test_what_is_wrong_has_its_line(folder: Path, old: str, new: str, line: int, told: str) -> None:
    (folder / "compose.yaml").write_text(WHOLE.replace(old, new, 1))
    with pytest.raises(ConfigurationError, match=told) as failed:
        plan_in(folder)
    assert f"compose.yaml:{line}: " in str(failed.value)


def test_an_env_file_is_read_as_compose_does() -> None:
    text = "export A=1\nB='two words'\nC=x # note\n#D=4\nE=\n"
    assert dotenv(text) == {"A": "1", "B": "two words", "C": "x", "E": ""}


def test_a_dotenv_beside_it_fills_in_what_the_environment_does_not_say(folder: Path) -> None:
    (folder / ".env").write_text("LEVEL=fine\n")
    assert "fine" in str(documents(plan_in(folder), "web"))
    assert "loud" in str(documents(plan_in(folder, LEVEL="loud"), "web"))
