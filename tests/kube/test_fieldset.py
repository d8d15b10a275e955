"""Field sets: the algebra of sets, in the shape of FieldsV1."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.kube.apply import fieldset as fs

Path = tuple[str, ...]
NAMES = st.sampled_from(["f:a", "f:b", "f:c", 'k:{"name":"x"}', 'v:"y"', "i:0"])
PATHS = st.sets(st.lists(NAMES, min_size=1, max_size=4).map(tuple), max_size=8)


def build(paths: set[Path]) -> fs.FieldSet:
    out: fs.FieldSet = {}
    for path in paths:
        one: fs.FieldSet = fs.LEAF
        for key in reversed(path):
            one = {key: one}
        out = fs.union(out, one)
    return out


def members(a: fs.FieldSet) -> set[Path]:
    return set(fs.iterate(a))


@given(PATHS)
def test_a_set_holds_the_paths_it_was_made_of(paths: set[Path]) -> None:
    a = build(paths)

    assert members(a) == paths
    assert fs.size(a) == len(paths)
    assert all(fs.has(a, p) for p in paths)


@given(PATHS, PATHS)
def test_sets_combine_as_sets_of_paths_do(a: set[Path], b: set[Path]) -> None:
    x, y = build(a), build(b)
    before = copy.deepcopy((x, y))

    assert members(fs.union(x, y)) == a | b
    assert members(fs.intersection(x, y)) == a & b
    assert members(fs.difference(x, y)) == a - b
    assert (x, y) == before


@given(PATHS, PATHS)
def test_a_recursive_difference_takes_what_is_below_too(a: set[Path], b: set[Path]) -> None:
    expected = {p for p in a if not any(p[:n] in b for n in range(1, len(p) + 1))}

    assert members(fs.recursive_difference(build(a), build(b))) == expected


@given(PATHS)
def test_leaves_have_nothing_below_them(a: set[Path]) -> None:
    expected = {p for p in a if not any(q[: len(p)] == p and q != p for q in a)}

    assert members(fs.leaves(build(a))) == expected


@given(PATHS)
def test_what_is_written_reads_back(a: set[Path]) -> None:
    document = fs.ordered(build(a))

    assert fs.decode(document) == document == build(a)
    assert list(document) == sorted(document)


@pytest.mark.parametrize(
    ("document", "paths"),
    [
        (None, set()),
        ({"f:a": {".": {}}}, {("f:a",)}),
        ({"x:unknown": {}, "f:a": {}}, {("f:a",)}),
    ],
)
def test_documents_of_clients_are_read(document: Any, paths: set[Path]) -> None:
    assert members(fs.decode(document)) == paths


@pytest.mark.parametrize("document", [[], {"f": {}}, {"abc": {}}, {"i:x": {}}, {"k:[]": {}}])
def test_documents_that_are_no_sets(document: Any) -> None:
    with pytest.raises(fs.FieldSetError):
        fs.decode(document)


def test_paths_read_as_in_conflicts() -> None:
    path = ("f:spec", 'k:{"containerPort":80,"protocol":"TCP"}', 'v:"x"', "i:2", "f:image")

    assert fs.path_text(path) == '.spec[containerPort=80,protocol="TCP"][="x"][2].image'
