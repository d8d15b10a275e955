"""What informers share between objects."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cove.client import _sharing
from cove.client._sharing import Sharing

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "x" * 40]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=30,
)


def pod(name: str) -> dict[str, Any]:
    """Of a template, as a controller makes them."""
    return {
        "metadata": {"name": name, "managedFields": [{"manager": "x"}]},
        "spec": {
            "containers": [{"name": "main", "resources": {"requests": {"cpu": "100m"}}}],
            "volumes": [{"name": f"token-{name}", "projected": {"sources": [{"path": "token"}]}}],
        },
    }


@given(st.lists(st.dictionaries(st.sampled_from("abc"), JSON, max_size=3), max_size=20))
def test_what_is_shared_says_the_same(specs: list[dict[str, Any]]) -> None:
    """No object changes by being shared, nor by what is shared after it."""
    sharing = Sharing()
    objects = [{"metadata": {}, "spec": copy.deepcopy(spec)} for spec in specs]
    kept = [sharing(obj) for obj in objects]
    assert [obj["spec"] for obj in kept] == specs


def test_equal_parts_are_one() -> None:
    """Also inside of parts that differ; managedFields are dropped."""
    sharing = Sharing()
    one, two = sharing(pod("one")), sharing(pod("two"))
    assert one["spec"]["containers"] is two["spec"]["containers"]
    assert one["spec"]["volumes"] is not two["spec"]["volumes"]
    assert one["spec"]["volumes"][0]["projected"] is two["spec"]["volumes"][0]["projected"]
    assert "managedFields" not in one["metadata"]


def test_what_is_remembered_is_bounded_and_what_is_in_use_stays() -> None:
    """A part that is met again and again outlives thousands that are met once."""
    sharing = Sharing()
    first = sharing(pod("first"))
    for i in range(5 * _sharing.KNOWN):
        kept = sharing(pod(f"pod-{i}"))
    assert kept["spec"]["containers"] is first["spec"]["containers"]
    assert len(sharing._young) + len(sharing._old) <= 2 * _sharing.KNOWN


def test_keys_of_anybodys_choice_do_not_pile_up() -> None:
    """A map's keys are no fields: there may be ever new ones."""
    sharing = Sharing()
    for i in range(5 * _sharing.KNOWN):
        sharing({"metadata": {}, "spec": {f"key-{i}": [{"a": i}, {"text": f"{i}" * 20}]}})
    assert len(sharing._missed) <= 2 * _sharing.KNOWN
    assert len(sharing._missed_items) <= 2 * _sharing.KNOWN


def test_what_is_in_parts_that_are_never_met_again_is_still_shared() -> None:
    """Those are looked for only now and then, and found once there are some."""
    sharing = Sharing()
    for i in range(3 * _sharing.HOPELESS):
        last = sharing(pod(f"pod-{i}"))
    another = sharing(pod("another"))
    assert another["spec"]["volumes"][0]["projected"] is last["spec"]["volumes"][0]["projected"]
    for _ in range(2 * _sharing.AGAIN + 1):
        last, another = another, sharing(pod("same"))
    assert another["spec"]["volumes"] is last["spec"]["volumes"]
