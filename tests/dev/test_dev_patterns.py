"""Patterns and Dockerfiles: which files are meant, and where they belong."""

from __future__ import annotations

from pathlib import Path

import pytest

from cove.dev import dockerfile
from cove.dev.changes import judge
from cove.dev.errors import ConfigurationError
from cove.dev.files import Changes
from cove.dev.patterns import SyncRule, fits
from cove.dev.plan import Artifact


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        pytest.param("src/**/*.py", "src/a.py", True, id="any folders are none, too"),
        pytest.param("src/**/*.py", "src/a/b/c.py", True, id="any folders"),
        pytest.param("src/*.py", "src/a/b.py", False, id="a star stays in its folder"),
        pytest.param("src/**", "src/a/b", True, id="all below"),
        pytest.param("*.{py,html}", "a.html", True, id="either"),
        pytest.param("*.{py,html}", "a.js", False, id="neither"),
        pytest.param("./a.py", "a.py", True, id="a dot means nothing"),
        pytest.param("[ab].py", "c.py", False, id="a class"),
    ],
)
def test_which_paths_a_pattern_means(pattern: str, path: str, expected: bool) -> None:
    assert fits(pattern, path) is expected


@pytest.mark.parametrize(
    ("rule", "path", "expected"),
    [
        pytest.param(
            SyncRule("src/**/*.py", "/app/src"), "src/a/b.py", "/app/src/a/b.py", id="below"
        ),
        pytest.param(SyncRule("**/*.py", "/app"), "a/b.py", "/app/a/b.py", id="nothing fixed"),
        pytest.param(
            SyncRule("bin/server", "/app/server"), "bin/server", "/app/server", id="a file"
        ),
        pytest.param(
            SyncRule("bin/server", "/app/"), "bin/server", "/app/server", id="into a folder"
        ),
        pytest.param(SyncRule("src/**", "/app", ""), "src/a", "/app/src/a", id="nothing taken off"),
        pytest.param(SyncRule("src/x/**", "/app", "src/"), "src/x/a", "/app/x/a", id="as told"),
        pytest.param(SyncRule("src/**/*.py", "/app"), "src/a.js", None, id="not meant"),
    ],
)
def test_where_a_file_belongs(rule: SyncRule, path: str, expected: str | None) -> None:
    assert rule.place(path) == expected


@pytest.mark.parametrize(
    ("pattern", "dest"), [("/abs/**", "/app"), ("../x", "/app"), ("", "/app"), ("src/**", "app")]
)
def test_rules_that_make_no_sense_are_refused(pattern: str, dest: str) -> None:
    with pytest.raises(ConfigurationError, match=r"it is (relative|an absolute)"):
        SyncRule(pattern, dest)


DOCKERFILE = """# syntax
ARG BASE=python:3
FROM $BASE AS base
WORKDIR /srv
FROM base AS other
COPY other /other
FROM base
ARG TO=/srv/app
COPY --chown=1:1 requirements.txt \\
     setup.py ./
COPY src ${TO}
COPY --from=other /other /other
COPY ["with space", "/x/"]
COPY conf/*.ini /etc/app/
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("src/a/b.py", "/srv/app/a/b.py"),
        ("requirements.txt", "/srv/requirements.txt"),
        ("with space", "/x/with space"),
        ("conf/a.ini", "/etc/app/a.ini"),
        ("other/x", None),
    ],
)
def test_where_a_dockerfile_copies_files_to(path: str, expected: str | None) -> None:
    assert dockerfile.place(path, dockerfile.copies(DOCKERFILE, {})) == expected


def test_a_target_has_what_its_stage_copies() -> None:
    assert dockerfile.place("other/x", dockerfile.copies(DOCKERFILE, {}, "other")) == "/other/x"


def test_the_images_that_a_dockerfile_starts_from() -> None:
    assert dockerfile.bases(DOCKERFILE, {}) == ["python:3"]
    assert dockerfile.bases(DOCKERFILE, {"BASE": "mine:1"}) == ["mine:1"]


def artifact(**more: object) -> Artifact:
    options = {"sync": (SyncRule("src/**/*.py", "/app"),), **more}
    return Artifact(name="web", context=Path("/repo"), **options)  # type: ignore[arg-type]


def test_all_that_can_be_copied_is_and_what_is_gone_goes() -> None:
    verdict = judge(artifact(), Changes(("src/a.py",), ("src/b.py",)), "")
    assert verdict.build == ""
    assert verdict.copies == {"/app/a.py": Path("/repo/src/a.py"), "/app/b.py": None}


def test_one_file_that_is_not_synced_means_a_build() -> None:
    verdict = judge(artifact(), Changes(("src/a.py", "go.mod"), ()), "")
    assert verdict.build == "go.mod is not synced"
    assert verdict.copies == {}


def test_rebuild_on_wins_over_sync() -> None:
    verdict = judge(artifact(rebuild_on=("src/gen*",)), Changes(("src/gen.py",), ()), "")
    assert verdict.build == "src/gen.py means a build"


def test_inferred_destinations_are_the_dockerfiles() -> None:
    inferring = artifact(sync=(), infer=("src/**/*.py",))
    verdict = judge(inferring, Changes(("src/a.py",), ()), DOCKERFILE)
    assert verdict.copies == {"/srv/app/a.py": Path("/repo/src/a.py")}
