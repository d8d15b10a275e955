"""What the files of an object hold."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cove.files.describe import describe
from cove.files.documents import (
    HIDDEN,
    LAST_APPLIED,
    inode,
    mtime_of,
    redacted,
    render,
    slim,
    to_yaml,
)
from cove.files.events import Row, field_selector, rows, table

AMBIGUOUS = [
    *("y", "n", "Y", "N", "yes", "no", "on", "off", "Yes", "NO", "On", "OFF", "true", "False"),
    *("null", "~", "", "1", "-1", "+1", "0x1F", "0o17", "017", "0b11", "1_000", "1e3", "1.5", ".5"),
    *("1E-3", ".inf", "-.INF", ".nan", "12:30", "1:2:3", "2001-01-01", "2001-1-1T00:00:00Z"),
    *("=", "<<", "- a", "a: b", "# c", "&a", "*a", "!t", "|", ">", "%", "@x", "`x", "'", '"'),
    *(" lead", "trail ", "two\nlines", "two\nlines\n", "tab\tin", "line \nblank", "\n", "a\r\nb"),
    "é😀\x85\u2028",
]


class Newer(yaml.SafeLoader):
    """YAML 1.2's core schema, as newer readers have it: other truths, other numbers."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012


for pattern, tag, first in (
    (r"^(?:true|True|TRUE|false|False|FALSE)$", "bool", "tTfF"),
    (r"^(?:~|null|Null|NULL|)$", "null", ["~", "n", "N", ""]),
    (r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "int", "-+0123456789"),
    (r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "float", "-+.0123456789"),
):
    import re

    Newer.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


@pytest.mark.parametrize("text", AMBIGUOUS, ids=ascii)
@pytest.mark.parametrize("loader", [yaml.SafeLoader, Newer], ids=["1.1", "1.2"])
def test_a_string_stays_a_string(text: str, loader: Any) -> None:
    """For readers of YAML 1.1 and 1.2 alike, as a value and as a key."""
    read = yaml.load(to_yaml({"key": text, "map": {text: 1}}), Loader=loader)
    assert read == {"key": text, "map": {text: 1}}
    assert type(read["key"]) is str


def test_one_letter_truths_are_quoted() -> None:
    """YAML 1.1 has them, the library's own reader does not know them."""
    assert to_yaml({"a": "y"}) == b'a: "y"\n'
    assert to_yaml({"n": "on"}) == b'"n": "on"\n'


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(DOCUMENTS)
def test_any_document_comes_back_from_yaml(doc: Any) -> None:
    """Whatever is in it."""
    assert yaml.load(to_yaml({"doc": doc}), Loader=yaml.SafeLoader) == {"doc": doc}


def test_lines_are_lines() -> None:
    """A file in a ConfigMap is grepped line by line; long lines are not broken."""
    text = to_yaml({"conf": "one\ntwo\n", "long": "word " * 100 + "end"}).decode()
    assert text.splitlines()[:3] == ["conf: |", "  one", "  two"]
    assert len(text.splitlines()) == 4


OBJECT: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {
        "name": "a",
        "namespace": "default",
        "uid": "u",
        "creationTimestamp": "2024-01-01T00:00:00Z",
        "annotations": {LAST_APPLIED: "{}"},
        "managedFields": [
            {"manager": "x", "time": "2024-01-03T00:00:00Z"},
            {"manager": "y", "time": "2024-01-02T00:00:00Z"},
            {"manager": "z"},
        ],
    },
}


@pytest.mark.parametrize("file", ["manifest.yaml", "manifest.json"])
def test_managed_fields_alone_are_left_out(file: str) -> None:
    """What was last applied is kept, as kubectl get keeps it."""
    shown = yaml.safe_load(render(OBJECT, file))
    metadata = {k: v for k, v in OBJECT["metadata"].items() if k != "managedFields"}
    assert shown == {**OBJECT, "metadata": metadata}


def test_a_status_is_the_status_or_null() -> None:
    assert render({**OBJECT, "status": {"phase": "on"}}, "status.yaml") == b'phase: "on"\n'
    assert render(OBJECT, "status.yaml") == b"null\n"


def test_an_object_is_as_old_as_its_last_write() -> None:
    """That of its newest managed fields, also when only that was kept of them; or its making."""
    last = 1704240000 * 10**9
    assert mtime_of(OBJECT) == last
    kept = slim(orjson.loads(orjson.dumps(OBJECT)))
    assert kept["metadata"]["managedFields"] == [{"time": "2024-01-03T00:00:00Z"}]
    assert mtime_of(kept) == last
    created = {"metadata": {"creationTimestamp": "2024-01-01T00:00:00Z"}}
    assert mtime_of(created) == 1704067200 * 10**9
    assert mtime_of({"metadata": {}}) == 0


def test_inodes_are_the_same_everywhere() -> None:
    """A number of a uid and a file's name: fixed, since other mounts have to agree."""
    assert inode("0000", "manifest.yaml") == inode("0000", "manifest.yaml")
    assert inode("0000", "manifest.yaml") != inode("0000", "status.yaml")
    assert inode("ab", "c") != inode("a", "bc")
    assert 1 < inode("x") < 2**63


SECRET: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {
        "name": "s",
        "annotations": {
            LAST_APPLIED: '{"data":{"password":"aHVudGVyMg=="},"stringData":{"x":"hunter2"}}'
        },
    },
    "type": "Opaque",
    "data": {"password": "aHVudGVyMg==", "empty": ""},
}


def test_a_redacted_secret_has_its_keys_and_no_value() -> None:
    """Neither in the data nor in what was last applied; and no server takes it for a Secret."""
    shown = redacted(SECRET)
    assert shown["data"] == {"password": HIDDEN, "empty": HIDDEN}
    text = orjson.dumps(shown).decode()
    assert "aHVudGVyMg" not in text
    assert "hunter2" not in text
    assert SECRET["data"]["password"] == "aHVudGVyMg=="
    assert not re.fullmatch(r"[A-Za-z0-9+/=]*", HIDDEN)


def test_what_was_applied_and_cannot_be_read_is_hidden_whole() -> None:
    broken = {**SECRET, "metadata": {"name": "s", "annotations": {LAST_APPLIED: "{aHVudGVyMg"}}}
    assert redacted(broken)["metadata"]["annotations"] == {LAST_APPLIED: HIDDEN}


# -- events


def test_a_selector_names_the_object_and_escapes() -> None:
    """By name, namespace, kind and uid; ``\\``, ``,`` and ``=`` are not what they look like."""
    assert field_selector("Pod", "web", "shop", "u1") == (
        "involvedObject.name=web,involvedObject.namespace=shop,"
        "involvedObject.kind=Pod,involvedObject.uid=u1"
    )
    assert "involvedObject.name=a\\,b\\=c\\\\d" in field_selector("Pod", "a,b=c\\d", "", "")


def event(**fields: Any) -> dict[str, Any]:
    return {"type": "Normal", "reason": "R", "message": "m", **fields}


SEEN = [
    (
        event(
            series={"count": 7, "lastObservedTime": "2024-01-04T00:00:00.000000Z"},
            count=3,
            lastTimestamp="2024-01-03T00:00:00Z",
        ),
        ("2024-01-04T00:00:00.000000Z", 7),
    ),
    (
        event(count=3, lastTimestamp="2024-01-03T00:00:00Z", eventTime="x"),
        ("2024-01-03T00:00:00Z", 3),
    ),
    (event(eventTime="2024-01-02T00:00:00.000000Z"), ("2024-01-02T00:00:00.000000Z", 1)),
    (event(), ("-", 1)),
    (event(series={}, count=0, lastTimestamp=None), ("-", 1)),
]


@pytest.mark.parametrize(("doc", "told"), SEEN, ids=["series", "last", "event", "none", "empty"])
def test_when_and_how_often_an_event_was_seen(doc: dict[str, Any], told: tuple[str, int]) -> None:
    (row,) = rows([doc])
    assert (row.seen, row.times) == told


def test_events_are_a_table_in_order() -> None:
    """The last one last, lines of a message in one, no event said in words."""
    found = rows(
        [
            event(
                message="one\ntwo\r\n three",
                lastTimestamp="2024-01-02T00:00:00Z",
                source={"component": "kubelet"},
            ),
            event(
                reason="First", lastTimestamp="2024-01-01T00:00:00Z", reportingComponent="scheduler"
            ),
        ]
    )
    lines = table(found).splitlines()
    assert lines[0].split() == ["LAST", "SEEN", "COUNT", "TYPE", "REASON", "FROM", "MESSAGE"]
    assert lines[1].split() == ["2024-01-01T00:00:00Z", "1", "Normal", "First", "scheduler", "m"]
    assert lines[2].endswith("one two  three")
    assert lines[1].index("Normal") == lines[2].index("Normal") == lines[0].index("TYPE")
    assert table([]) == "No events.\n"


# -- describe


def test_a_description_tells_a_pod_as_people_ask_for_it() -> None:
    doc = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {
            "nodeName": "n1",
            "initContainers": [{"name": "first", "image": "i:0"}],
            "containers": [
                {
                    "name": "main",
                    "image": "i:1",
                    "ports": [{"containerPort": 80}],
                    "env": [
                        {"name": "A", "value": "b"},
                        {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                    ],
                }
            ],
            "tolerations": [{"key": "k", "operator": "Exists", "tolerationSeconds": 5}],
        },
        "status": {
            "phase": "Running",
            "hostIP": "10.0.0.1",
            "containerStatuses": [
                {
                    "name": "main",
                    "ready": True,
                    "restartCount": 2,
                    "state": {"running": {"startedAt": "2024-01-01T00:00:00Z"}},
                    "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
                }
            ],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    text = describe(doc, [Row("-", 4, "Warning", "BackOff", "kubelet", "again")])
    told = {
        line.split(":")[0].strip(): line.partition(":")[2].strip() for line in text.splitlines()
    }
    assert told["Node"] == "n1/10.0.0.1"
    assert told["Status"] == "Running"
    assert told["Restart Count"] == "2"
    assert told["Last State"] == "Terminated"
    assert told["Exit Code"] == "137"
    assert told["S"] == "<k of Secret s>"
    assert told["Tolerations"] == "k op=Exists for 5s"
    assert text.index("Init Containers:") < text.index("\nContainers:")
    assert text.splitlines()[-1].split() == ["Warning", "BackOff", "-", "4", "kubelet", "again"]


def test_a_description_tells_any_kind_by_its_fields() -> None:
    """Fields in words, somebody's own keys as they are, lists, conditions as a table."""
    doc = {
        "apiVersion": "example.com/v1",
        "kind": "Cache",
        "metadata": {"name": "c", "deletionTimestamp": "2024-01-01T00:00:00Z", "finalizers": ["f"]},
        "spec": {
            "maxSize": 3,
            "podIP": None,
            "selector": {"appName": "x"},
            "list": [{"a": 1, "b": 2}],
        },
        "status": {"conditions": [{"type": "Ready", "status": "False", "message": "not\nyet"}]},
    }
    lines = describe(doc, []).splitlines()
    assert "  Max Size:        3" in lines
    assert "    appName:       x" in lines
    assert any(line.startswith("    - A:") for line in lines)
    assert any(line.split()[:4] == ["Ready", "False", "-", "not"] for line in lines)
    assert any("Terminating (since 2024-01-01T00:00:00Z" in line for line in lines)
    assert lines[-1] == "Events:            <none>"


def test_a_description_never_tells_a_secret() -> None:
    """Sizes, as kubectl describe does; what is no base64 has one, too."""
    text = describe({**SECRET, "data": {"password": "aHVudGVyMg==", "bad": "€"}}, [])
    assert "password:" in text
    assert "7 bytes" in text
    assert "1 characters" in text
    assert "hunter2" not in text
    assert "aHVudGVyMg" not in text
