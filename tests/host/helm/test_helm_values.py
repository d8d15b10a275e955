"""Values: merged as Helm merges them, and each key and value exactly itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helm_charts import VALUES, same
from hypothesis import given, settings

from cove.host import _yaml
from cove.host.errors import AppError
from cove.host.helm import HelmError, Release, export
from cove.host.helm.values import ValuesError, assign, exact, merge, merged, parse_path


def test_mappings_are_merged_deep_and_everything_else_is_replaced() -> None:
    base = {"a": {"x": 1, "y": {"z": 1}}, "list": [1, 2], "gone": {"k": 1}, "kept": True}

    found = merge(base, {"a": {"y": {"w": 2}}, "list": [3], "gone": None})

    assert found == {
        "a": {"x": 1, "y": {"z": 1, "w": 2}},
        "list": [3],
        "gone": None,
        "kept": True,
    }
    assert base["a"] == {"x": 1, "y": {"z": 1}}


def test_files_come_in_their_order_then_values_then_what_is_set(tmp_path: Path) -> None:
    """Files of one name in two folders are two files."""
    first, second = tmp_path / "base" / "values.yaml", tmp_path / "dev" / "values.yaml"
    for file, text in ((first, "a: 1\nb: 1\nc: 1\nd: 1\n"), (second, "b: 2\nc: 2\nd: 2\n")):
        file.parent.mkdir()
        file.write_text(text)

    found = merged([first, second], {"c": 3, "d": 3}, {"d": 4})

    assert found == {"a": 1, "b": 2, "c": 3, "d": 4}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a", ("a",)),
        ("a.b", ("a", "b")),
        ("a[0].b", ("a", 0, "b")),
        ("a[1][2]", ("a", 1, 2)),
        (r"a\.b.c", ("a.b", "c")),
        (r"a\[0\]", ("a[0]",)),
        (r"a\\", ("a\\",)),
        ("a.b,c.d=evil", ("a", "b,c", "d=evil")),
        ("{a,b}=\"x'", ("{a,b}=\"x'",)),
    ],
)
def test_a_path_is_one_assignment(text: str, path: tuple[str | int, ...]) -> None:
    assert parse_path(text) == path


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "[0]", "a[", "a[x]", "a[-1]", "a[0]b", "a\\", "a[99999]"]
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValuesError, match="is no path"):
        parse_path(text)


def test_a_key_that_looks_like_two_assignments_is_one_key() -> None:
    """Helm's own parser would have made two of it."""
    as_value = merged([], {"a.b,c.d=evil": "x,y={z}"}, {})
    as_path = merged([], {}, {"a.b,c.d=evil": "x,y={z}"})

    assert as_value == {"a.b,c.d=evil": "x,y={z}"}
    assert as_path == {"a": {"b,c": {"d=evil": "x,y={z}"}}}


def test_what_is_set_makes_what_is_missing_on_the_way() -> None:
    values: dict[str, Any] = {"hosts": [{"name": "a", "port": 1}], "nothing": None}

    assign(values, parse_path("hosts[0].port"), 2, "")
    assign(values, parse_path("hosts[2]"), "c", "")
    assign(values, parse_path("nothing.deep[0]"), True, "")

    assert values == {
        "hosts": [{"name": "a", "port": 2}, None, "c"],
        "nothing": {"deep": [True]},
    }


def test_what_is_set_replaces_no_text_by_a_mapping() -> None:
    with pytest.raises(ValuesError, match=r"set \"a.b\": a is 'text', not a mapping"):
        merged([], {"a": "text"}, {"a.b": 1})


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (2**53 + 1, "in quotes"),
        (float("nan"), "finite"),
        (b"bytes", "is a bytes"),
        ({1: "x"}, "keys are texts"),
        ("\ud800", "no Unicode"),
    ],
)
def test_what_would_arrive_as_something_else_is_refused(value: object, why: str) -> None:
    with pytest.raises(ValuesError, match=f"values.key.* {why}|values.key {why}"):
        exact({"key": value}, "values")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "is not there; it is read when the release starts"),
        ("a: 1\nb: [\n", "line 2"),
        ("- 1\n", "line 1: a mapping is expected"),
    ],
    ids=["missing", "invalid", "list"],
)
def test_a_values_file_that_is_wrong_is_named(tmp_path: Path, text: str | None, why: str) -> None:
    file = tmp_path / "dev.yaml"
    if text is not None:
        file.write_text(text)

    with pytest.raises(HelmError) as error:
        export(Release("web", "charts/web", values_files=[file]))

    assert 'release "web"' in str(error.value)
    assert str(file) in str(error.value)
    assert why in str(error.value)


@pytest.mark.parametrize(
    "declared",
    [
        {"name": "Web"},
        {"name": " "},
        {"namespace": "no space"},
        {"chart": " "},
        {"chart": "--post-renderer=x"},
        {"repo": "bitnami"},
        {"chart": "oci://host/web", "repo": "https://charts.test"},
        {"version": " "},
        {"timeout": 0},
        {"values_files": "dev.yaml"},
        {"values": {"a": {1, 2}}},
        {"set": {"a..b": 1}},
    ],
    ids=str,
)
def test_a_declaration_that_is_wrong_is_refused_where_it_is_made(declared: dict[str, Any]) -> None:
    with pytest.raises(AppError, match="release"):
        Release(**{"name": "web", "chart": "charts/web", **declared})


@settings(max_examples=150)
@given(VALUES)
def test_values_are_exported_as_yaml_that_reads_back_the_same(values: dict[str, Any]) -> None:
    text = export(Release("web", "charts/web", values=values))

    ((doc, repeated),) = [_yaml.load(part.text) for part in _yaml.split(text)]

    assert (doc, repeated) == (values, [])


@pytest.mark.requires("helm")
@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_helm_reads_exported_values_as_they_are(values: dict[str, Any]) -> None:
    import helm_python

    text = export(Release("web", "charts/web", values=values))

    assert same(helm_python.values_from_yaml(text), values)


@pytest.mark.requires("helm")
def test_values_files_are_read_as_helm_reads_them(tmp_path: Path) -> None:
    import helm_python

    file = tmp_path / "values.yaml"
    text = (
        "a: yes\nb: 0777\nc: 1:30\nd: 1e3\ne: 2020-01-01\ng: 0o17\nh: 1_000\ni: .5\nj: ~\n"
        "k: !!str 5\n1: x\ntrue: y\nn: &a {x: 1}\no: {<<: *a, p: 2}\nq: 0x1F\nr: off\n"
        "twice: 1\ntwice: 2\n---\nanother: document\n"
    )
    file.write_text(text)

    assert merged([file], {}, {}) == helm_python.values_from_yaml(text)
