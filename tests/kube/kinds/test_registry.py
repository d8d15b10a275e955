"""Every built-in kind has its behaviour, loaded when asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from cove.kube import catalogue, kinds

NOW = datetime(2024, 1, 1, 0, 5, tzinfo=UTC)
BUILT_IN = sorted({(r.group, r.kind) for r in catalogue.resources() if r.persisted})


@pytest.mark.parametrize(("group", "kind"), BUILT_IN, ids=lambda v: v or "core")
def test_a_bare_object_has_a_cell_for_every_column(group: str, kind: str) -> None:
    behaviour = kinds.kind(group, kind)
    obj: dict[str, Any] = {"metadata": {"name": "one", "creationTimestamp": "2024-01-01T00:00:00Z"}}

    cells = behaviour.row(obj, NOW)

    # An IPAddress has an age without a column for it, as upstream prints it.
    assert len(cells) - len(behaviour.columns) == (1 if kind == "IPAddress" else 0)


def test_kinds_are_shared_and_know_their_name() -> None:
    pod = kinds.kind("", "Pod")
    assert pod is kinds.kind("", "Pod")
    assert (pod.group, pod.kind) == ("", "Pod")


def test_an_unknown_kind_is_a_plain_one() -> None:
    plain = kinds.kind("example.com", "Widget")
    assert [c.name for c in plain.columns] == ["Name", "Created At"]
    assert not plain.has_printer
    assert plain.unknown_field_label("spec.x").startswith('"spec.x" is not a known field selector')


def _some(*keys: str) -> SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.sampled_from(keys), st.sampled_from(["", "a", "b"]))


@given(
    _some("nodeName", "restartPolicy", "schedulerName", "serviceAccountName"),
    _some("phase", "podIP", "nominatedNodeName"),
    st.sampled_from([{}, {"hostNetwork": True}, {"hostNetwork": False}]),
)
def test_pods_are_found_by_the_fields_that_can_be_asked(
    spec: dict[str, str], status: dict[str, str], network: dict[str, bool]
) -> None:
    """What is written out for speed says what each field says by itself."""
    pod = {"metadata": {"name": "a"}, "spec": {**spec, **network}, "status": status}
    kind = kinds.kind("", "Pod")
    assert kind.index_fields(pod) == {key: read(pod) for key, read in kind.selectable.items()}
