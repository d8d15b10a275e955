"""Recorded values are Python's own, wherever Python lets them, and say so where it does not."""

from __future__ import annotations

import copy
import json
import operator
import pickle
from typing import Any

import msgspec
import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.testing.values.recorded_world import POD, answered

from cove.testing.timeline import Link, Timeline
from cove.testing.values import link_of, unwrap, wrap

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
KEYS = st.text(max_size=8) | st.sampled_from(["items", "values", "keys", "get", "a", "kind"])
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)
DOCUMENTS = st.dictionaries(KEYS, JSON, max_size=5)


def types_in(value: Any) -> set[type]:
    """All the types that a document is made of."""
    found = {type(value)}
    if isinstance(value, dict):
        for key in dict.keys(value):
            found |= types_in(key) | types_in(dict.__getitem__(value, key))
    elif isinstance(value, list):
        for each in list.__iter__(value):
            found |= types_in(each)
    return found


def touched(value: Any) -> Any:
    """The value, everything in it looked at once: it is wrapped inside, too."""
    if isinstance(value, dict):
        for key in value:
            touched(value[key])
    elif isinstance(value, list):
        for each in value:
            touched(each)
    return value


@given(DOCUMENTS)
def test_a_document_equals_what_it_was_made_of(document: dict[str, Any]) -> None:
    wrapped = wrap(copy.deepcopy(document), Link(Timeline("t"), 1))

    for _ in range(2):
        assert (wrapped == document) is True
        assert (document == wrapped) is True
        assert (wrapped != document) is False
        assert repr(wrapped) == repr(document)
        assert types_in(unwrap(wrapped)) == types_in(document)
        assert (unwrap(wrapped) == document) is True
        touched(wrapped)


@given(DOCUMENTS)
def test_every_encoder_writes_what_it_writes_of_the_plain_document(
    document: dict[str, Any],
) -> None:
    wrapped = wrap(copy.deepcopy(document), Link(Timeline("t"), 1))

    for _ in range(2):
        assert json.dumps(wrapped) == json.dumps(document)
        assert json.dumps(wrapped, indent=1) == json.dumps(document, indent=1)
        assert json.dumps({"in": [wrapped]}, indent=1) == json.dumps({"in": [document]}, indent=1)
        assert orjson.dumps(wrapped) == orjson.dumps(document)
        assert msgspec.json.encode(wrapped) == msgspec.json.encode(document)
        assert types_in(pickle.loads(pickle.dumps(wrapped))) == types_in(document)
        assert (pickle.loads(pickle.dumps(wrapped)) == document) is True
        assert (copy.deepcopy(wrapped) == document) is True
        assert link_of(copy.deepcopy(wrapped)) == link_of(wrapped)
        touched(wrapped)


@pytest.mark.parametrize("dumper", [yaml.SafeDumper, yaml.CSafeDumper, yaml.Dumper, yaml.CDumper])
@pytest.mark.parametrize("flow", [None, True])
def test_yaml_is_that_of_the_plain_document(dumper: Any, flow: bool | None) -> None:
    _, pod = answered()
    pod["spec"]["nothing"] = None

    written = yaml.dump(touched(pod), Dumper=dumper, default_flow_style=flow)

    assert written == yaml.dump(pod.unwrap(), Dumper=dumper, default_flow_style=flow)
    assert yaml.dump({"a": pod.spec.host_network}, Dumper=dumper) == "a: false\n"


@given(JSON.filter(lambda value: not isinstance(value, (dict, list))))
def test_a_scalar_counts_as_the_plain_one(value: Any) -> None:
    recorded = wrap({"x": value}, Link(Timeline("t"), 1))["x"]

    assert (recorded == value) is True
    assert (value == recorded) is True
    assert (recorded != value) is False
    assert hash(recorded) == hash(value)
    assert {recorded: 1}[value] == 1
    assert value in {recorded}  # noqa: FURB171
    assert recorded in {value}  # noqa: FURB171
    assert recorded in [value]  # noqa: FURB171
    assert repr(recorded) == repr(value)
    assert str(recorded) == str(value)
    assert f"{recorded}|{recorded!r}" == f"{value}|{value!r}"
    assert bool(recorded) is bool(value)
    assert isinstance(recorded, type(value))
    assert type(unwrap(recorded)) is type(value)
    assert type(pickle.loads(pickle.dumps(recorded))) is type(value)
    assert copy.copy(recorded) is recorded
    assert link_of(copy.deepcopy(recorded)) == link_of(recorded)


@given(st.lists(st.integers() | st.floats(allow_nan=False) | st.booleans(), max_size=6))
def test_numbers_are_sorted_and_added_as_plain_ones(values: list[Any]) -> None:
    recorded = wrap({"x": values}, Link(Timeline("t"), 1))["x"]

    assert unwrap(sorted(recorded)) == sorted(values)
    assert sum(recorded) == sum(values)
    assert (recorded < [*values, 1]) is True


@given(st.lists(st.text(), max_size=6))
def test_texts_are_sorted_and_joined_as_plain_ones(values: list[str]) -> None:
    recorded = wrap({"x": values}, Link(Timeline("t"), 1))["x"]

    assert sorted(recorded) == sorted(values)
    assert ",".join(recorded) == ",".join(values)


BINARY = [
    operator.add, operator.sub, operator.mul, operator.and_, operator.or_, operator.xor,
    operator.lshift, operator.lt, operator.ge, operator.truediv, operator.floordiv, operator.mod,
]  # fmt: skip


@pytest.mark.parametrize("other", [True, 2, 2.5])
@pytest.mark.parametrize("operation", BINARY, ids=lambda o: o.__name__)
def test_booleans_count_as_pythons_do(operation: Any, other: Any) -> None:
    true = wrap({"x": True}, None)["x"]

    for left, right, plain in ((true, other, (True, other)), (other, true, (other, True))):
        try:
            expected = operation(*plain)
        except TypeError:
            with pytest.raises(TypeError):
                operation(left, right)
            continue
        assert operation(left, right) == expected
        assert type(operation(left, right)) is type(expected)


def test_a_boolean_is_an_index_and_a_number() -> None:
    true, false = wrap([True, False], None)

    assert "ab"[true] + "ab"[false] == "ba"
    assert int(true) + float(true) == 2
    assert ~true == ~1
    assert true.bit_length() == 1
    assert (true & false) is False
    assert isinstance(true, int)
    assert max([false, true]) == 1


def test_attributes_are_keys_however_they_are_written() -> None:
    _, pod = answered()

    assert pod.metadata.name == "web"
    assert pod.status.pod_ip == pod.status.podIP == "10.0.0.1"
    assert pod.api_version == "v1"
    assert pod.spec.containers[0].ports[0].container_port == 80
    assert pod.metadata.labels.app == "web"
    assert link_of(pod.status.pod_ip).path == ("status", "podIP")
    policy = wrap(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "spec": {"ingress": [{"from": []}]},
        },
        None,
    )
    assert policy.spec.ingress[0]._from == policy.spec.ingress[0].from_ == []


def test_an_attribute_that_may_be_several_keys_is_refused() -> None:
    odd = wrap({"fooBar": 1, "foobar": 2}, None)

    assert odd.foobar == 2
    with pytest.raises(AttributeError, match=r"any of fooBar, foobar: use \[\.\.\.\]"):
        _ = odd.FOOBAR


def test_a_field_that_is_not_set_is_none_and_knows_its_place() -> None:
    timeline, pod = answered()

    unset = pod.metadata.deletion_timestamp

    assert unset == None  # noqa: E711
    assert not unset
    assert link_of(unset).path == ("metadata", "deletionTimestamp")
    assert link_of(unset).timeline is timeline
    with pytest.raises(
        AttributeError, match=r"spec\.securityContext of GET pods/web in default is None: it has no"
    ):
        _ = pod.spec.security_context.run_as_user
    with pytest.raises(TypeError, match=r"spec\.tolerations of .* is None"):
        list(pod.spec.tolerations)


def test_what_is_no_field_is_refused_with_what_may_be_meant() -> None:
    _, pod = answered()

    with pytest.raises(AttributeError, match="PodStatus has no field 'phse', did you mean 'phase'"):
        _ = pod.status.phse
    assert not hasattr(pod, "__array__")
    assert not hasattr(pod, "_repr_html_")
    # A label is nobody's misspelling.
    assert pod.metadata.labels.tier == None  # noqa: E711


def test_of_a_custom_resource_nobody_knows_the_fields() -> None:
    cache = wrap({"apiVersion": "x.dev/v1", "kind": "Cache", "spec": {"maxSize": 1}}, None)

    assert cache.spec.max_size == 1
    assert cache.status == None  # noqa: E711
    assert cache.spec.anything == None  # noqa: E711


def test_the_items_of_a_list_are_both_list_and_method() -> None:
    _, pods = answered(
        {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [POD, POD]}, name=""
    )

    assert [pod.metadata.name for pod in pods.items] == ["web", "web"]
    assert [key for key, _ in pods.items()] == ["apiVersion", "kind", "metadata", "items"]
    assert pods.items is not None
    assert len(pods["items"]) == 2
    assert link_of(pods.items[1].metadata.name).path == ("items", 1, "metadata", "name")
    # Objects in lists do not say what they are.
    without = {k: v for k, v in POD.items() if k not in ("kind", "apiVersion")}
    _, pods = answered({"apiVersion": "v1", "kind": "PodList", "items": [without]}, name="")
    with pytest.raises(AttributeError, match="PodSpec has no field 'container'"):
        _ = pods.items[0].spec.container


def test_values_of_a_selector_are_both_list_and_method() -> None:
    selector = {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}
    selector["matchExpressions"].append({"key": "c", "operator": "Exists"})
    pod = copy.deepcopy(POD)
    pod["spec"]["topologySpreadConstraints"] = [{"labelSelector": selector}]
    _, recorded = answered(pod)

    some, none = recorded.spec.topology_spread_constraints[0].label_selector.match_expressions

    assert some.values == ["b"]
    assert list(some.values()) == ["a", "In", ["b"]]
    assert none.values == None  # noqa: E711
    assert list(none.values()) == ["c", "Exists"]
    assert json.loads(json.dumps(recorded)) == pod


def test_an_answer_that_is_wrapped_in_pieces_knows_its_types_from_the_call() -> None:
    timeline, _ = answered(verb="list", name="")

    pod = wrap({"metadata": {"name": "x"}}, Link(timeline, 1, ("items", 3)))

    assert pod.status == None  # noqa: E711
    with pytest.raises(AttributeError, match="Pod has no field 'stats', did you mean 'status'"):
        _ = pod.stats
    assert link_of(pod.metadata.name).path == ("items", 3, "metadata", "name")


def test_slices_keep_where_they_are_from() -> None:
    _, pod = answered()
    pod["spec"]["args"] = ["a", "b", "c", "d"]
    _, whole = answered(pod.unwrap())

    assert link_of(whole.metadata.name[:2]).path == ("metadata", "name")
    assert link_of(whole["spec"]["args"][1:][::-1][0]).path == ("spec", "args", 3)
    assert whole["spec"]["args"][1:] == ["b", "c", "d"]


def test_views_and_iteration_give_recorded_values() -> None:
    _, pod = answered()

    items = dict(pod["metadata"].items())

    assert link_of(items["name"]).path == ("metadata", "name")
    assert next(link_of(v).path for v in pod["metadata"].values()) == ("metadata", "name")
    assert [link_of(c.name).path for c in reversed(pod.spec.containers)] == [
        ("spec", "containers", 0, "name")
    ]
    assert ("name", "web") in pod["metadata"].items()
    assert [*reversed(pod["metadata"].items())] == [*reversed(POD["metadata"].items())]
    assert [*reversed(pod["metadata"].values())] == [*reversed(POD["metadata"].values())]
    assert link_of(pod.get("metadata").get("name")).path == ("metadata", "name")
    assert pod.get("nothing") is None
    assert pod.get("nothing", 3) == 3
    match pod["status"]:
        case {"phase": phase}:
            assert link_of(phase).path == ("status", "phase")


def test_is_cannot_be_answered_and_says_so() -> None:
    _, pod = answered()
    pod["spec"]["nothing"] = None
    message = r"is a recorded value, which `is` cannot compare: write `== (None|False)`"

    with pytest.raises(TypeError, match=message):
        assert pod.metadata.deletion_timestamp is None
    with pytest.raises(TypeError, match=message):
        assert pod.spec.host_network is False
    with pytest.raises(TypeError, match=message):
        _ = pod["spec"]["nothing"] is not None
    with pytest.raises(TypeError, match=message):
        _ = (found := pod["spec"].get("hostNetwork")) is not False or found
    with pytest.raises(TypeError, match=message):
        _ = wrap({"x": [None]}, None)["x"][0] is None
    # What is not an operand of it is not meant.
    assert (str(pod.spec.host_network) is None) is False
    assert pod.status.phase is not None


def test_changes_are_those_of_a_plain_document() -> None:
    timeline, pod = answered()
    plain = copy.deepcopy(POD)

    for document in (pod, plain):
        document["metadata"]["labels"]["tier"] = "front"
        document["spec"]["containers"].append({"name": "side", "image": "y"})
        document["spec"]["containers"][0]["image"] = "z"
        document["spec"].update({"nodeName": "n", "x": [1]})
        document["spec"].setdefault("y", {})["z"] = True
        document["spec"]["containers"].sort(key=lambda c: str(c["image"]))
        document["spec"]["x"] += [2, 3]
        document["spec"]["x"].insert(0, 0)
        del document["spec"]["x"][1]
        document["spec"]["x"].reverse()
        document["metadata"] |= {"generation": 2}
        assert document["spec"].pop("nodeName") == "n"
        assert document["spec"].pop("nodeName", "gone") == "gone"
    assert unwrap(pod) == plain
    assert types_in(unwrap(pod)) == types_in(plain)
    assert unwrap(pod["spec"].popitem()) == plain["spec"].popitem()

    pod.spec.active_deadline_seconds = 5
    pod.metadata.labels.app = pod.status.phase
    del pod.status.pod_ip

    assert pod["spec"]["activeDeadlineSeconds"] == 5
    assert type(dict.__getitem__(pod.metadata.labels, "app")) is str
    assert "podIP" not in pod["status"]
    # What the test has put there came from no call.
    assert link_of(pod.spec.active_deadline_seconds) is None
    assert link_of(pod.spec.priority).timeline is timeline
    assert [link_of(c.image) is None for c in pod.spec.containers] == [True, True]
    assert [link_of(c.name) is None for c in pod.spec.containers] == [True, False]


def test_copies_are_separate() -> None:
    _, pod = answered()
    pod.spec.containers[0]

    shallow, deep = copy.copy(pod), copy.deepcopy(pod)
    deep["spec"]["containers"][0]["image"] = "new"
    shallow["kind"] = "Other"

    assert pod == POD
    assert link_of(deep.spec.containers[0].name).path == ("spec", "containers", 0, "name")
    assert pod.copy() == pod.spec.containers.copy()[0:0] or pod.copy() == POD


def test_unwrap_reaches_into_whatever_holds_values() -> None:
    import kubernetes.client as official

    _, pod = answered()
    model = official.V1Pod(
        metadata=official.V1ObjectMeta(name=pod.metadata.name, labels=pod.metadata.labels),
        spec=official.V1PodSpec(containers=[], node_name=pod.metadata.name),
    )

    plain = unwrap({"a": (pod.metadata.name, [pod.spec]), "b": {pod.status.phase}, "c": model})

    assert types_in(plain["a"][1]) <= {dict, list, str, int, bool}
    assert type(plain["a"][0]) is str
    assert {type(each) for each in plain["b"]} == {str}
    assert type(plain["c"].metadata.name) is type(plain["c"].spec.node_name) is str
    assert type(plain["c"].metadata.labels) is dict
    marker = object()
    assert unwrap(marker) is marker


def test_without_a_link_values_are_wrapped_as_well() -> None:
    pod = wrap(copy.deepcopy(POD), None)

    assert pod.status.pod_ip == "10.0.0.1"
    assert link_of(pod.status.pod_ip) is None
    assert link_of("plain") is None
    assert pod.status.phase.unwrap() == "Pending"
    assert type(pod.spec.host_network.unwrap()) is bool
    assert pod.metadata.uid.unwrap() is None
