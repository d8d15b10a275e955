"""The codec: what an API server makes of a document, and what it says about a bad one."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.kube.catalogue import schema
from cove.kube.catalogue._explain import base64_error
from cove.kube.catalogue.codec import (
    Decoded,
    DecodeError,
    convert,
    decode,
    find_duplicate_fields,
    in_go_order,
)

APPS = ("apps", "v1", "Deployment")
POD = ("", "v1", "Pod")
CONFIG_MAP = ("", "v1", "ConfigMap")


def read(gvk: tuple[str, str, str], doc: Any, **options: Any) -> Decoded:
    group, version, kind = gvk
    return decode(
        doc,
        schema(*gvk),
        kind=kind,
        api_version=f"{group}/{version}" if group else version,
        **options,
    )


def pod_spec(**spec: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": spec}}}


def cause(gvk: tuple[str, str, str], doc: Any) -> str:
    with pytest.raises(DecodeError) as caught:
        read(gvk, doc)
    return caught.value.cause


def test_kind_and_version_are_written_first() -> None:
    assert list(read(CONFIG_MAP, {"metadata": {"name": "a"}}).obj) == [
        "kind",
        "apiVersion",
        "metadata",
    ]


@pytest.mark.parametrize(
    ("gvk", "doc", "expected"),
    [
        pytest.param(CONFIG_MAP, None, {"metadata": {}}, id="null-is-empty"),
        pytest.param(
            CONFIG_MAP,
            {"data": {}, "immutable": None, "metadata": None},
            {"metadata": {}},
            id="zero-and-null-are-left-out",
        ),
        pytest.param(
            CONFIG_MAP, {"immutable": False}, {"metadata": {}, "immutable": False}, id="pointer"
        ),
        pytest.param(
            CONFIG_MAP, {"data": {"a": None}}, {"metadata": {}, "data": {"a": ""}}, id="null-in-map"
        ),
        pytest.param(
            APPS,
            {},
            {
                "metadata": {},
                "spec": {
                    "selector": None,
                    "template": {"metadata": {}, "spec": {"containers": None}},
                    "strategy": {},
                },
                "status": {},
            },
            id="structs-and-required-fields-are-always-written",
        ),
        pytest.param(
            ("rbac.authorization.k8s.io", "v1", "Role"),
            {"rules": []},
            {"metadata": {}, "rules": None},
            id="empty-list-is-none-after-protobuf",
        ),
        pytest.param(
            ("", "v1", "Event"),
            {"metadata": {"creationTimestamp": None}},
            {
                "metadata": {},
                "involvedObject": {},
                "source": {},
                "firstTimestamp": None,
                "lastTimestamp": None,
                "eventTime": None,
                "reportingComponent": "",
                "reportingInstance": "",
            },
            id="times-by-value",
        ),
        pytest.param(
            ("", "v1", "Secret"),
            {"data": {"a": "YQ\n==", "b": "YR==", "c": None}},
            {"metadata": {}, "data": {"a": "YQ==", "b": "YQ==", "c": ""}},
            id="bytes-are-canonical",
        ),
        pytest.param(
            ("", "v1", "ResourceQuota"),
            {"spec": {"hard": {"cpu": 1.5, "memory": "1024Mi", "pods": 3}}},
            {
                "metadata": {},
                "spec": {"hard": {"cpu": "1500m", "memory": "1Gi", "pods": "3"}},
                "status": {},
            },
            id="quantities-are-canonical",
        ),
        pytest.param(
            ("", "v1", "Service"),
            {"spec": {"ports": [{"port": 80}, {"port": 81, "targetPort": "http"}]}},
            {
                "metadata": {},
                "spec": {
                    "ports": [{"port": 80, "targetPort": 0}, {"port": 81, "targetPort": "http"}]
                },
                "status": {"loadBalancer": {}},
            },
            id="int-or-string",
        ),
        pytest.param(
            ("coordination.k8s.io", "v1", "Lease"),
            {"spec": {"renewTime": "2026-01-02T03:04:05.000006+01:00"}},
            {"metadata": {}, "spec": {"renewTime": "2026-01-02T02:04:05.000006Z"}},
            id="micro-times-in-utc",
        ),
        pytest.param(
            ("apps", "v1", "ControllerRevision"),
            {"data": {"any": [None, {"thing": 1}]}, "revision": 3},
            {"metadata": {}, "data": {"any": [None, {"thing": 1}]}, "revision": 3},
            id="raw-is-kept",
        ),
    ],
)
def test_decode(gvk: tuple[str, str, str], doc: Any, expected: Any) -> None:
    obj = dict(read(gvk, doc).obj)
    assert obj.pop("kind") == gvk[2]
    del obj["apiVersion"]
    assert obj == expected


def test_a_crd_keeps_schemas_in_place_of_booleans_and_drops_what_they_do_not_know() -> None:
    props = {
        "additionalProperties": {"type": "string", "bogus": 1},
        "items": {"type": "string"},
        "default": {"kept": None},
    }
    doc = {"spec": {"versions": [{"schema": {"openAPIV3Schema": props}}]}}
    decoded = read(("apiextensions.k8s.io", "v1", "CustomResourceDefinition"), doc)
    [version] = decoded.obj["spec"]["versions"]
    assert version["schema"]["openAPIV3Schema"] == {
        "additionalProperties": {"type": "string"},
        "items": {"type": "string"},
        "default": {"kept": None},
    }
    # Upstream looks into those without strictness.
    assert decoded.problems == ()


FIELD = "json: cannot unmarshal {} into Go struct field {} of type {}"


@pytest.mark.parametrize(
    ("gvk", "doc", "expected"),
    [
        pytest.param(
            APPS,
            {"spec": {"replicas": "x"}},
            FIELD.format("string", "DeploymentSpec.spec.replicas", "int32"),
            id="string-for-int",
        ),
        pytest.param(
            APPS,
            {"spec": {"replicas": 1.5}},
            FIELD.format("number 1.5", "DeploymentSpec.spec.replicas", "int32"),
            id="fraction-for-int",
        ),
        pytest.param(
            APPS,
            {"spec": {"replicas": 1 << 31}},
            FIELD.format("number 2147483648", "DeploymentSpec.spec.replicas", "int32"),
            id="int32-overflow",
        ),
        pytest.param(
            CONFIG_MAP,
            {"data": {"a": 1}},
            FIELD.format("number", "ConfigMap.data", "string"),
            id="map-value",
        ),
        pytest.param(
            CONFIG_MAP,
            {"data": "x"},
            FIELD.format("string", "ConfigMap.data", "map[string]string"),
            id="string-for-map",
        ),
        pytest.param(
            CONFIG_MAP,
            {"metadata": []},
            FIELD.format("array", "ConfigMap.metadata", "v1.ObjectMeta"),
            id="array-for-struct",
        ),
        pytest.param(
            APPS,
            pod_spec(containers={}),
            FIELD.format("object", "PodSpec.spec.template.spec.containers", "[]v1.Container"),
            id="object-for-list",
        ),
        pytest.param(
            APPS,
            pod_spec(containers=[{"ports": [{"protocol": True}]}]),
            FIELD.format(
                "bool", "ContainerPort.spec.template.spec.containers.ports.protocol", "v1.Protocol"
            ),
            id="named-string",
        ),
        pytest.param(
            APPS,
            {"spec": {"strategy": {"rollingUpdate": {"maxSurge": False}}}},
            FIELD.format(
                "bool", "RollingUpdateDeployment.spec.strategy.rollingUpdate.maxSurge", "int32"
            ),
            id="int-or-string",
        ),
        pytest.param(
            CONFIG_MAP,
            {"metadata": {"creationTimestamp": 5}},
            FIELD.format("number", "ObjectMeta.metadata.creationTimestamp", "string"),
            id="time",
        ),
        pytest.param(
            CONFIG_MAP,
            [],
            "json: cannot unmarshal array into Go value of type v1.ConfigMap",
            id="document",
        ),
        pytest.param(
            ("", "v1", "Secret"),
            {"data": {"a": "%%"}},
            "illegal base64 data at input byte 0",
            id="base64",
        ),
        pytest.param(
            POD,
            {"spec": {"containers": [{"resources": {"limits": {"cpu": "x"}}}]}},
            "quantities must match the regular expression "
            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            id="quantity",
        ),
        pytest.param(
            ("coordination.k8s.io", "v1", "Lease"),
            {"spec": {"renewTime": "2020-01-01T00:00:00.0Z"}},
            'parsing time "2020-01-01T00:00:00.0Z" as "2006-01-02T15:04:05.000000Z07:00": '
            'cannot parse ".0Z" as ".000000"',
            id="micro-time",
        ),
        pytest.param(
            APPS,
            {"spec": {"replicas": "x", "paused": 1}},
            FIELD.format("string", "DeploymentSpec.spec.replicas", "int32"),
            id="first-of-two",
        ),
        pytest.param(
            APPS,
            {"spec": {"replicas": "x"}, "metadata": {"creationTimestamp": "x"}},
            'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"',
            id="a-type-that-decodes-itself-ends-it",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_go_words(
    gvk: tuple[str, str, str], doc: Any, expected: str
) -> None:
    assert cause(gvk, doc) == expected


def test_the_message_names_kind_and_version() -> None:
    with pytest.raises(DecodeError) as caught:
        read(APPS, {"spec": 1})
    assert caught.value.code == 400
    assert caught.value.message.startswith(
        'Deployment in version "v1" cannot be handled as a Deployment: json: '
    )


UNKNOWN = {
    "metadata": {"foo": 1},
    "spec": {"containers": [{"name": "c", "nope": 1, "ports": [{"x": 1}]}], "bogus": 1},
    "top": 1,
}
PROBLEMS = [
    'unknown field "metadata.foo"',
    'unknown field "spec.containers[0].nope"',
    'unknown field "spec.containers[0].ports[0].x"',
    'unknown field "spec.bogus"',
    'unknown field "top"',
]


def test_unknown_fields_are_dropped_and_listed_in_document_order() -> None:
    decoded = read(POD, UNKNOWN)
    assert list(decoded.problems) == PROBLEMS
    assert "top" not in decoded.obj
    assert "bogus" not in decoded.obj["spec"]


def test_ignore_lists_nothing() -> None:
    assert read(POD, UNKNOWN, field_validation="Ignore").problems == ()


def test_strict_refuses() -> None:
    with pytest.raises(DecodeError) as caught:
        read(POD, UNKNOWN, field_validation="Strict")
    assert caught.value.cause == "strict decoding error: " + ", ".join(PROBLEMS)


def test_repeated_keys_are_found_in_the_text() -> None:
    raw = (
        b'{"metadata":{"labels":{"a":"1","a":"2"}},"data":{"k":"1","k":"2"},'
        b'"data":{"k":"3"},"unknown":true}'
    )
    decoded = read(CONFIG_MAP, orjson.loads(raw), raw=raw)
    assert decoded.obj["data"] == {"k": "3"}
    assert list(decoded.problems) == [
        'duplicate field "metadata.labels.a"',
        'duplicate field "data.k"',
        'duplicate field "data"',
        'unknown field "unknown"',
    ]


def test_problems_of_reading_come_first() -> None:
    decoded = read(CONFIG_MAP, {"bogus": 1}, problems=["yaml: …"])
    assert list(decoded.problems) == ["yaml: …", 'unknown field "bogus"']


def test_the_document_is_not_changed() -> None:
    doc = {"spec": {"ports": [{"port": 80}]}, "bogus": 1}
    before = orjson.dumps(doc)
    read(("", "v1", "Service"), doc)
    assert orjson.dumps(doc) == before


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({"template": []}, "cannot restore struct from: slice", id="struct"),
        pytest.param(
            {"template": {"spec": {"containers": {}}}}, "cannot restore slice from map", id="slice"
        ),
        pytest.param(
            {"template": {"spec": {"hostNetwork": "yes"}}}, "unrecognized type: bool", id="bool"
        ),
        pytest.param({"replicas": 1.5}, "cannot convert float64 to int32", id="fraction"),
        pytest.param({"replicas": "1"}, "unrecognized type: int32", id="int"),
        pytest.param(
            {"template": {"metadata": {"labels": {"a": 5}}}},
            "cannot convert int64 to string",
            id="string",
        ),
    ],
)
def test_the_converter_has_errors_of_its_own(spec: Any, expected: str) -> None:
    with pytest.raises(DecodeError) as caught:
        convert({"spec": spec}, schema(*APPS), kind="Deployment", api_version="apps/v1")
    assert caught.value.cause == expected


def test_the_converter_sorts_problems_and_takes_whole_floats() -> None:
    decoded = convert(
        {"spec": {"zz": 1, "bogus": 1, "replicas": 2.0}},
        schema(*APPS),
        kind="Deployment",
        api_version="apps/v1",
    )
    assert list(decoded.problems) == ['unknown field "spec.bogus"', 'unknown field "spec.zz"']
    assert decoded.obj["spec"]["replicas"] == 2


def test_duplicates_of_untyped_documents() -> None:
    raw = b'{"spec":{"x":1,"x":2,"list":[{"a":1,"a":1}]},"a":{"":1}}'
    assert find_duplicate_fields(raw) == [
        'duplicate field "spec.x"',
        'duplicate field "spec.list[0].a"',
    ]


def test_go_order() -> None:
    doc = {
        "data": {"b": "1", "a": "2"},
        "metadata": {"labels": {}, "name": "x"},
        "kind": "ConfigMap",
    }
    ordered = in_go_order(doc, schema(*CONFIG_MAP))
    assert list(ordered) == ["kind", "metadata", "data"]
    assert list(ordered["metadata"]) == ["name", "labels"]
    assert list(ordered["data"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("YQ==", None, id="good"),
        pytest.param("YQ=", 4 - 1, id="one-of-two-paddings"),
        pytest.param("YQ", 0, id="no-padding"),
        pytest.param("YWJj=", 4, id="padding-alone"),
        pytest.param("YQ==YQ==", 4, id="text-after-padding"),
        pytest.param("Y\nQ=\n=", None, id="newlines"),
    ],
)
def test_base64_errors(text: str, expected: int | None) -> None:
    wanted = None if expected is None else f"illegal base64 data at input byte {expected}"
    assert base64_error(text) == wanted


@given(st.binary())
def test_any_bytes_survive_a_secret(data: bytes) -> None:
    import base64

    text = base64.b64encode(data).decode()
    found = read(("", "v1", "Secret"), {"data": {"k": text}})
    assert found.obj["data"]["k"] == text
    assert base64_error(text) is None


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["metadata", "spec", "containers", "labels", "name", "ports", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(documents)
def test_both_walks_agree_and_decoding_twice_changes_nothing(doc: Any) -> None:
    try:
        first = read(POD, doc, field_validation="Ignore").obj
    except DecodeError:
        return
    again = read(POD, first)
    assert again.obj == first
    assert again.problems == ()
