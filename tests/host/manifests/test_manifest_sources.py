"""What manifests are read from, and the faults that are seen before anything is applied."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cove.host.manifests import ManifestError, export, read

MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"


async def names(path: Path) -> list[str]:
    return [document.name for document in (await read(path)).documents]


async def test_a_file_of_several_documents_knows_where_each_is(tmp_path: Path) -> None:
    """Comments alone are no document; a List is what is in it."""
    file = tmp_path / "all.yaml"
    secrets = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}} for name in ("c", "d")
    ]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": secrets})
    file.write_text(
        "# nothing yet\n---\n"
        + MAP % "a"
        + "---\n# nothing\n---\n\n"
        + MAP % "b"
        + f"--- {listed}\n"
    )

    source = await read(file)

    assert source.mode == "file"
    assert [(d.name, d.number, d.count, d.line, d.item) for d in source.documents] == [
        ("a", 1, 3, 3, 0),
        ("b", 2, 3, 10, 0),
        ("c", 3, 3, 13, 1),
        ("d", 3, 3, 13, 2),
    ]
    assert source.documents[1].where == f"{file}, document 2 of 3 (line 10)"


async def test_a_directory_is_its_files_sorted_and_nothing_below(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name in ("b.yml", "a.yaml", "c.yaml", "below/x.yaml"):
        (tmp_path / name).write_text(MAP % Path(name).stem)
    (tmp_path / "notes.txt").write_text("no: manifest")
    (tmp_path / "values.json").write_text("{}")

    source = await read(tmp_path)

    assert source.mode == "directory"
    assert [d.name for d in source.documents] == ["a", "b", "c"]


@pytest.mark.requires("kubectl")
@pytest.mark.parametrize("name", ["kustomization.yaml", "kustomization.yml", "Kustomization"])
@pytest.mark.parametrize("named", [False, True], ids=["directory", "itself"])
async def test_a_kustomization_is_built_with_its_relative_bases(
    tmp_path: Path, name: str, named: bool
) -> None:
    base, overlay = tmp_path / "base", tmp_path / "overlays" / "dev"
    base.mkdir()
    overlay.mkdir(parents=True)
    (base / "kustomization.yaml").write_text("resources: [map.yaml]\n")
    (base / "map.yaml").write_text(MAP % "a")
    (overlay / name).write_text("resources: [../../base]\nnamePrefix: dev-\nnamespace: shop\n")
    (overlay / "ignored.yaml").write_text("not: [a manifest")

    source = await read(overlay / name if named else overlay)

    assert source.mode == "kustomization"
    assert [(d.name, d.namespace) for d in source.documents] == [("dev-a", "shop")]


@pytest.mark.requires("kubectl")
async def test_a_kustomization_that_cannot_be_built_says_why(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n")

    with pytest.raises(ManifestError, match=r"missing\.yaml") as error:
        await read(tmp_path)

    assert str(tmp_path) in str(error.value)
    assert "nothing was applied" in str(error.value)


async def test_a_kustomization_without_kubectl_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cove.host.manifests._kustomize.program", lambda *names: None)
    (tmp_path / "kustomization.yaml").write_text("resources: []\n")

    with pytest.raises(ManifestError, match=r"pip install 'cove\[kubectl\]'"):
        await read(tmp_path)


@pytest.mark.parametrize(
    ("third", "why"),
    [
        ("a: [\n", "line 9: "),
        ("kind: ConfigMap\nmetadata: {name: x}\n", "apiVersion is missing"),
        ("apiVersion: v1\nmetadata: {name: x}\n", "kind is missing"),
        ("apiVersion: v1\nkind: ConfigMap\n", "ConfigMap: metadata is missing"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n", "metadata.name is missing"),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: n}\n",
            "metadata.name is false, not a text",
        ),
        ("apiVersion: v1\nkind: Pod\nmetadata: {generateName: x-}\n", "cannot be applied"),
        ("just text\n", "an object is expected, this is a str"),
        (MAP % "x" + "kind: ConfigMap\n", 'line 12: key "kind" already set in map'),
        (MAP % "first", 'ConfigMap "first" is there already, in'),
    ],
    ids=[
        "yaml",
        "version",
        "kind",
        "metadata",
        "name",
        "boolean",
        "generated",
        "text",
        "key",
        "twice",
    ],
)
async def test_a_document_that_is_wrong_is_named(tmp_path: Path, third: str, why: str) -> None:
    file = tmp_path / "app.yaml"
    file.write_text(
        "---\n".join([MAP % "first", MAP % "second", third, MAP % "fourth", MAP % "fifth"])
    )

    with pytest.raises(ManifestError) as error:
        await read(file)

    assert f"{file}, document 3 of 5" in str(error.value)
    assert why in str(error.value)
    assert "nothing was applied" in str(error.value)


async def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [")
    (tmp_path / "b.yaml").write_text("kind: Pod\n")

    with pytest.raises(ManifestError) as error:
        await read(tmp_path)

    assert "a.yaml, document 1 of 1, line 1" in str(error.value)
    assert "b.yaml, document 1 of 1 (line 1): apiVersion is missing" in str(error.value)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("later.yaml", "is not there; it is looked up when the manifests are applied"),
        ("empty", "holds no *.yaml or *.yml"),
        ("nothing.yaml", "holds no documents"),
    ],
)
async def test_where_there_is_nothing_to_apply_it_says_so(
    tmp_path: Path, path: str, why: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "nothing.yaml").write_text("# soon\n---\nnull\n")

    with pytest.raises(ManifestError) as error:
        await read(tmp_path / path)

    assert why in str(error.value)
    assert str(tmp_path / path) in str(error.value)


async def test_documents_are_exported_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(MAP % "b")
    (tmp_path / "a.yaml").write_text(MAP % "a" + "data: {when: 2020-01-01, on: 'yes'}\n")

    found = await export(tmp_path)

    assert [obj["metadata"]["name"] for obj in found] == ["a", "b"]
    assert found[0]["data"] == {"when": "2020-01-01", "true": "yes"}


async def test_kustomize_alone_will_do(tmp_path: Path) -> None:
    """A stand-in for the kustomize binary: it shows how it was called, and where."""
    kustomize = tmp_path / "kustomize"
    kustomize.write_text(
        "#!/bin/sh\n"
        "printf 'apiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: %s}\\n"
        'data: {where: %s}\\n\' "$1" "$(pwd)"\n'
    )
    kustomize.chmod(0o755)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "kustomization.yaml").write_text("resources: []\n")

    source = await read(tmp_path / "app", kubectl=kustomize)

    (document,) = source.documents
    assert (document.name, document.obj["data"]) == ("build", {"where": str(tmp_path / "app")})
