"""What a declaration refuses where it is given, and what saying it twice does not change."""

from __future__ import annotations

import re

import pytest

import cove
from cove import App
from cove.host import AppError, GraphError, InvalidNameError


@pytest.mark.parametrize("name", ["", " ", "\t", "Web", "web_1", "-web", "web-", "w" * 64, "a b"])
def test_names_that_cannot_be_are_refused(app: App, name: str) -> None:
    for declare in (
        lambda: App(name),
        lambda: app.process(name, ["true"]),
        lambda: app.cluster(name),
        lambda: app.container(name, "busybox"),
        lambda: app.image(name),
    ):
        with pytest.raises(InvalidNameError):
            declare()
    assert not app.resources


@pytest.mark.parametrize("blank", ["", "  "])
def test_blank_names_are_refused_wherever_they_are_given(app: App, blank: str) -> None:
    k8s = app.cluster("k8s")
    api = app.process("api", ["true"])
    for declare in (
        lambda: api.wait_for(blank),
        lambda: api.after(blank),
        lambda: api.reference(blank),
        lambda: k8s.disable(blank),
        lambda: k8s.data_volume(blank),
        lambda: k8s.helm("h", chart=blank),
        lambda: k8s.helm("h", chart="x", namespace=blank),
        lambda: k8s.helm("h", chart="x", version=blank),
        lambda: k8s.manifests("m", blank),
        lambda: k8s.manifests("m", "x", namespace=blank),
        lambda: k8s.endpoint("e", service=blank, port=80),
        lambda: k8s.endpoint("e", service="s", port=blank),
        lambda: k8s.endpoint("e", service="s", port=80, namespace=blank),
        lambda: app.container("c", blank),
        lambda: app.image("i", dockerfile=blank),
        lambda: app.process("p", [blank]),
    ):
        with pytest.raises(AppError):
            declare()
    assert list(app.resources) == ["k8s", "api"]


def test_a_name_is_taken_once(app: App) -> None:
    app.cluster("web")
    with pytest.raises(InvalidNameError, match=r'"web" is already the name of a cluster of "shop"'):
        app.process("web", ["true"])


@pytest.mark.parametrize("port", [-1, 65536, 70000])
def test_ports_that_cannot_be_are_refused(app: App, port: int) -> None:
    k8s = app.cluster("k8s")
    for declare in (
        lambda: app.process("p", ["true"], port=port),
        lambda: app.container("c", "i", ports={80: port}),
        lambda: app.container("c", "i", ports={port: 0}),
        lambda: app.cluster("k", api_port=port),
        lambda: k8s.endpoint("e", service="s", port=port),
        lambda: k8s.endpoint("e", service="s", port=80, host_port=port),
    ):
        with pytest.raises(AppError, match="port"):
            declare()


def test_options_that_cannot_be_are_refused(app: App) -> None:
    for declare, said in (
        (lambda: app.cluster("k", agents=-1), "agents is -1"),
        (lambda: app.cluster("k", lifetime="ever"), 'lifetime is "ever"'),
        (lambda: app.process("p", "npm start"), "give a list"),
        (lambda: app.process("p", []), "give a list"),
        (lambda: app.process("p", ["x"], restart="maybe"), 'restart "maybe"'),
        (lambda: app.process("p", ["x"], health="/healthz"), "has no URL"),
        (lambda: app.process("p", ["x"], health="ftp://x/"), "is no check"),
        (lambda: app.process("p", ["x"], health="tcp://localhost"), "has no port"),
        (lambda: app.container("c", "i", command="sleep 1"), "lists of words"),
        (lambda: app.cluster("k2").helm("h", chart="c", driver="tiller"), 'driver "tiller"'),
        (lambda: app.cluster("k3").endpoint("e", service="s", port=1, scheme="ftp"), "ftp"),
    ):
        with pytest.raises(AppError, match=re.escape(said)):
            declare()  # type: ignore[operator]


def test_what_is_said_twice_is_said_once(app: App) -> None:
    k8s = app.cluster("k8s")
    api = app.process("api", ["true"])

    api.reference(k8s).reference(k8s).reference("k8s")
    api.wait_for(k8s).wait_for(k8s)
    k8s.data_volume().data_volume().data_volume("other")
    k8s.disable("traefik").disable("traefik", "registry")

    assert len(api.edges) == 2
    assert k8s.options.data_volume == ""
    assert k8s.options.disable == ("traefik", "registry")


def test_a_named_data_volume_keeps_its_name(app: App) -> None:
    k8s = app.cluster("k8s", data_volume="objects")
    k8s.data_volume()
    assert k8s.options.data_volume == "objects"


def test_version_and_lifetime_are_of_all_nodes_however_late_they_are_said(app: App) -> None:
    k8s = app.cluster("k8s", agents=2)
    k8s.version("v1.36.0-k3s1").lifetime("persistent")
    assert k8s.options.agents == 2
    assert k8s.options.version == "v1.36.0-k3s1"
    assert k8s.options.lifetime == "persistent"


def test_resources_of_another_application_are_refused(app: App) -> None:
    other = App("other").process("x", ["true"])
    with pytest.raises(AppError, match='belongs to another application, "other"'):
        app.process("api", ["true"]).wait_for(other)


async def test_nothing_is_started_of_what_cannot_be(app: App) -> None:
    app.process("touch", ["touch", "started"])
    app.process("api", ["true"]).wait_for("web")
    with pytest.raises(GraphError, match='api waits for "web", which is not declared'):
        async with app.run():
            pass
    assert not (app.root / "started").exists()


def test_a_child_that_waits_for_its_cluster_is_told_that_it_does_anyway(app: App) -> None:
    k8s = app.cluster("k8s")
    k8s.endpoint("url", service="web", port=80).wait_for(k8s)
    with pytest.raises(GraphError, match="url waits for its own cluster k8s"):
        app.check()


def test_names_may_be_declared_later(app: App) -> None:
    app.process("api", ["true"]).wait_for("db").reference("db")
    app.process("db", ["true"])
    app.check()


def test_relative_paths_are_of_the_file_that_declares(app: App) -> None:
    assert App("here").root == __import__("pathlib").Path(__file__).parent
    assert app.cluster("k8s").manifests("m", "deploy").path == app.root / "deploy"
    assert app.process("p", ["true"], cwd="src").cwd == app.root / "src"


def test_it_is_at_the_front_door() -> None:
    assert cove.App is App
