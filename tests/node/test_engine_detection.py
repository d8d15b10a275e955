"""Which container engine is taken, and what is said when there is none (row D1)."""

from __future__ import annotations

import pytest

from cove.node.docker import EngineAddress, EngineError, candidates, find_engine


def nobody(address: EngineAddress) -> str:
    return "there is no such socket"


def only(*urls: str):  # type: ignore[no-untyped-def]
    return lambda address: "" if address.url in urls else "there is no such socket"


DOCKER = "unix:///var/run/docker.sock"
PODMAN = "unix:///run/user/1000/podman/podman.sock"


def found(**more: object) -> str | None:
    options = {"environ": {}, "platform": "linux", "uid": 1000, **more}
    address = find_engine(**options)  # type: ignore[arg-type]
    return None if address is None else address.url


def test_sockets_are_tried_in_turn_and_the_first_that_answers_is_taken() -> None:
    assert found(probe=only(DOCKER, PODMAN)) == DOCKER
    assert found(probe=only(PODMAN)) == PODMAN
    assert found(probe=nobody) is None


@pytest.mark.parametrize(
    ("platform", "environ", "uid", "expected"),
    [
        ("linux", {}, 1000, [DOCKER, PODMAN]),
        (
            "linux",
            {"XDG_RUNTIME_DIR": "/run/me"},
            1000,
            [DOCKER, "unix:///run/me/podman/podman.sock"],
        ),
        (
            "darwin",
            {"HOME": "/people/me"},
            501,
            [
                DOCKER,
                "unix:///people/me/.local/share/containers/podman/machine/podman.sock",
            ],
        ),
    ],
)
def test_every_platform_has_its_sockets(
    platform: str, environ: dict[str, str], uid: int, expected: list[str]
) -> None:
    assert [a.url for a in candidates(environ, platform=platform, uid=uid)] == expected


def test_the_flag_wins_over_the_variable_and_that_over_docker_host() -> None:
    environ = {"COVE_CONTAINER_ENGINE": "unix:///two", "DOCKER_HOST": "unix:///three"}
    everywhere = only("unix:///one", "unix:///two", "unix:///three", DOCKER)
    assert found(flag="/one", environ=environ, probe=everywhere) == "unix:///one"
    assert found(environ=environ, probe=everywhere) == "unix:///two"
    assert found(flag="auto", environ=environ, probe=everywhere) == "unix:///two"
    del environ["COVE_CONTAINER_ENGINE"]
    assert found(environ=environ, probe=everywhere) == "unix:///three"


@pytest.mark.parametrize("word", ["none", "simulated"])
def test_somebody_may_want_none(word: str) -> None:
    assert found(flag=word, probe=only(DOCKER)) is None
    assert found(environ={"COVE_CONTAINER_ENGINE": word}, probe=only(DOCKER)) is None


def test_an_engine_that_was_named_and_does_not_answer_is_an_error_with_its_source() -> None:
    with pytest.raises(EngineError) as caught:
        found(environ={"DOCKER_HOST": "tcp://127.0.0.1:1"}, probe=nobody)
    text = str(caught.value)
    assert "tcp://127.0.0.1:1: there is no such socket (DOCKER_HOST)" in text
    assert "COVE_CONTAINER_ENGINE=none" in text
    with pytest.raises(EngineError, match=r"start Podman with `podman machine start`"):
        found(flag="podman", platform="darwin", environ={"HOME": "/x"}, probe=nobody)
    with pytest.raises(EngineError, match=r"\(--container-engine: Docker's default socket\)"):
        found(flag="docker", probe=only(PODMAN))


def test_without_the_extra_pods_are_simulated_and_a_named_engine_is_an_error() -> None:
    assert found(probe=only(DOCKER), installed=lambda: False) is None
    with pytest.raises(EngineError, match=r"pip install 'cove\[containers\]'"):
        found(flag="docker", probe=only(DOCKER), installed=lambda: False)


def test_what_is_no_engine_is_refused() -> None:
    with pytest.raises(EngineError, match='"dcoker", which COVE_CONTAINER_ENGINE says, is no'):
        found(environ={"COVE_CONTAINER_ENGINE": "dcoker"}, probe=only(DOCKER))
