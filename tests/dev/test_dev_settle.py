"""What is settled before anything is started: engine, cluster, branch; and plans of applications."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cove import App
from cove.dev.declared import plan_of
from cove.dev.errors import ConfigurationError, DevError
from cove.dev.plan import Plan
from cove.dev.session import Options, opened
from cove.dev.settle import branch_of, container_engine, exported, on_branch
from cove.dev.state import Facts, State, states
from cove.engines.cluster import OptionError
from cove.engines.existing import ExistingCluster
from cove.engines.k3s import K3sCluster
from cove.engines.k3s.spec import Place, server
from cove.engines.local import BackgroundCluster
from cove.host.images import Built, in_document, in_values
from cove.node.docker import EngineAddress


def plan(root: Path, **cluster: object) -> Plan:
    app = App("shop", root=root)
    app.cluster("k8s", **cluster)  # type: ignore[arg-type]
    return plan_of(app)


def test_docker_means_that_docker_host_is_unset() -> None:
    address = EngineAddress("unix:///var/run/docker.sock", "--container-engine", "docker")
    assert exported(address)["DOCKER_HOST"] is None


def test_podmans_socket_is_exported_as_docker_host() -> None:
    address = EngineAddress("unix:///run/user/1000/podman/podman.sock", "the default", "podman")
    assert exported(address)["DOCKER_HOST"] == "unix:///run/user/1000/podman/podman.sock"


@pytest.mark.requires("docker")
def test_an_explicit_choice_wins_over_the_environment_and_is_exported() -> None:
    environ = {"DOCKER_HOST": "unix:///elsewhere.sock"}
    address = container_engine("docker", environ)
    assert address is not None
    assert environ == {"COVE_CONTAINER_ENGINE": "unix:///var/run/docker.sock"}


def test_an_invalid_choice_is_an_error_that_names_its_source_and_exports_nothing() -> None:
    environ = {"DOCKER_HOST": "nonsense"}
    with pytest.raises(DevError, match=r'"nonsense", which DOCKER_HOST says, is no container'):
        container_engine(None, environ)
    assert environ == {"DOCKER_HOST": "nonsense"}


@pytest.mark.embedded("it is about the cluster that cove makes")
def test_a_cluster_is_persistent_with_its_ports_and_a_registry_at_5000(own_home: Path) -> None:
    address = EngineAddress("unix:///var/run/docker.sock", "the test")
    wanted = plan(own_home, ports={8080: 30051}, agents=1)
    cluster = opened(wanted, Options(), address, print)
    assert isinstance(cluster, BackgroundCluster)
    assert cluster.name == "shop-k8s"
    settings = cluster._wanted
    assert (settings.ports, settings.registry_port) == (("8080:30051",), 5000)
    assert (settings.nodes, settings.in_memory) == (2, False)


def test_every_engine_is_one_flag_away(own_home: Path) -> None:
    address = EngineAddress("unix:///var/run/docker.sock", "the test")
    wanted = plan(own_home)
    assert isinstance(opened(wanted, Options(engine="k3s"), address, print), K3sCluster)
    assert isinstance(opened(wanted, Options(context="other"), address, print), ExistingCluster)
    with pytest.raises(OptionError, match="which is no engine"):
        opened(wanted, Options(engine="k4s"), address, print)


def test_k3s_publishes_node_ports_on_loopback(own_home: Path) -> None:
    options = plan(own_home, ports={8080: 30051}).cluster.options
    config = server("shop", options, Place(network="net", token="t", folder=own_home), {})
    bound = config["HostConfig"]["PortBindings"]["30051/tcp"]
    assert bound == [{"HostIp": "127.0.0.1", "HostPort": "8080"}]
    assert "30051/tcp" in config["ExposedPorts"]


def test_a_port_that_is_none_is_refused_where_it_is_declared(own_home: Path) -> None:
    from cove.host.errors import AppError

    with pytest.raises(AppError, match="ports names 0"):
        plan(own_home, ports={0: 30051})


def test_a_branch_has_a_cluster_of_its_own(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/HEAD").write_text("ref: refs/heads/feature/New_Thing\n")
    (tmp_path / "sub").mkdir()
    assert branch_of(tmp_path / "sub") == "feature/New_Thing"
    assert (
        on_branch(plan(tmp_path), "feature/New_Thing").cluster.name == "shop-k8s-feature-new-thing"
    )
    (tmp_path / ".git/HEAD").write_text("0123456789\n")
    assert on_branch(plan(tmp_path), branch_of(tmp_path)).cluster.name == "shop-k8s"


def test_a_worktree_has_its_own_branch_and_no_repository_is_told(tmp_path: Path) -> None:
    (tmp_path / "git").mkdir()
    (tmp_path / "git/HEAD").write_text("ref: refs/heads/other\n")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/.git").write_text(f"gitdir: {tmp_path / 'git'}\n")
    assert branch_of(tmp_path / "tree") == "other"
    with pytest.raises(ConfigurationError, match="in no git repository"):
        branch_of(Path("/"))


def test_what_is_written_down_is_read_again_and_private(own_home: Path) -> None:
    state = State("shop")
    facts = Facts(cluster="shop", engine="embedded", releases=[("a", "default")])
    state.write(facts)
    assert state.read() == facts
    assert [s.name for s in states()] == ["shop"]
    assert os.stat(state.path / "state.json").st_mode & 0o777 == 0o600
    (state.path / "state.json").write_text("{half")
    assert state.read() == Facts()
    state.remove()
    assert states() == []


def test_several_clusters_need_a_choice(tmp_path: Path) -> None:
    app = App("shop", root=tmp_path)
    app.cluster("one")
    app.cluster("two")
    with pytest.raises(ConfigurationError, match=r"several clusters: name one with --cluster"):
        plan_of(app)
    assert plan_of(app, cluster="two").cluster.name == "shop-two"


def test_images_that_need_each_other_can_not_be_built(tmp_path: Path) -> None:
    from cove.dev.plan import Artifact, Requirement

    def image(name: str, other: str) -> Artifact:
        return Artifact(name=name, context=tmp_path, requires=(Requirement(other, "X"),))

    base = plan(tmp_path)
    with pytest.raises(ConfigurationError, match="require each other"):
        Plan(
            name="x", root=tmp_path, cluster=base.cluster,
            artifacts=(image("a", "b"), image("b", "a")),
        )  # fmt: skip


BUILT = Built("web", "localhost:5000/shop/web", "abc", "sha256:1")


def find(image: str) -> Built | None:
    return BUILT if image in ("web", "web:dev") else None


def test_containers_at_any_depth_get_what_was_built() -> None:
    doc = {"kind": "X", "spec": {"t": {"initContainers": [{"image": "web:dev"}], "image": "web"}}}
    changed = in_document(doc, find)
    assert changed["spec"]["t"]["initContainers"][0]["image"] == BUILT.reference
    assert changed["spec"]["t"]["image"] == "web"
    assert doc["spec"]["t"]["initContainers"][0]["image"] == "web:dev"  # type: ignore[index]


@pytest.mark.parametrize(
    ("defaults", "expected"),
    [
        ({"image": "x"}, "localhost:5000/shop/web@sha256:1"),
        (
            {"image": {"repository": "x", "tag": "y"}},
            {"repository": "localhost:5000/shop/web", "tag": "abc@sha256:1"},
        ),
        (
            {"image": {"registry": "r", "repository": "x", "tag": "y", "digest": ""}},
            {
                "registry": "localhost:5000",
                "repository": "shop/web",
                "tag": "abc",
                "digest": "sha256:1",
            },
        ),
    ],
    ids=["a text", "repository and tag", "registry and digest"],
)
def test_values_get_an_image_in_the_form_of_the_chart(
    defaults: dict[str, object], expected: object
) -> None:
    assert in_values({}, defaults, {"image": BUILT}, find) == {"image": expected}


def test_values_that_name_an_image_are_found_without_being_told() -> None:
    values = {"a": {"image": {"repository": "web"}}, "sidecarImage": "web:dev", "other": "web"}
    found = in_values(values, {}, {}, find)
    assert set(found) == {"a", "sidecarImage"}


def test_native_k3s_ends_with_its_command(own_home: Path) -> None:
    from cove.engines.k3s.native import NativeK3s
    from cove.engines.k3s_options import K3sOptions

    wanted = plan(own_home, engine="k3s", k3s=K3sOptions(native=True))
    cluster = opened(wanted, Options(), None, print)
    assert isinstance(cluster, NativeK3s)
    assert cluster.options.lifetime == "session"
