"""JSON and YAML texts: values, and the errors of Go's parsers."""

from typing import Any

import pytest

from cove.kube.catalogue._text import TextError, may_repeat
from cove.kube.catalogue.codec import load_json, load_yaml, type_meta, unrecognized


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(b"", "unexpected end of JSON input", id="empty"),
        pytest.param(b"{", "unexpected end of JSON input", id="open"),
        pytest.param(
            b"apiVersion: v1", "invalid character 'a' looking for beginning of value", id="yaml"
        ),
        pytest.param(
            b'{"a":1,}',
            "invalid character '}' looking for beginning of object key string",
            id="trailing-comma",
        ),
        pytest.param(b'{"a" 1}', "invalid character '1' after object key", id="no-colon"),
        pytest.param(
            b'{"a":1 "b":2}', "invalid character '\"' after object key:value pair", id="no-comma"
        ),
        pytest.param(b"[1 2]", "invalid character '2' after array element", id="array"),
        pytest.param(b"{} x", "invalid character 'x' after top-level value", id="after"),
        pytest.param(
            b"none", "invalid character 'o' in literal null (expecting 'u')", id="literal"
        ),
        pytest.param(b"-x", "invalid character 'x' in numeric literal", id="number"),
        pytest.param(b'"\n"', "invalid character '\\n' in string literal", id="newline"),
        pytest.param(b'"\\x"', "invalid character 'x' in string escape code", id="escape"),
    ],
)
def test_json_errors(raw: bytes, expected: str) -> None:
    with pytest.raises(TextError) as caught:
        load_json(raw)
    assert str(caught.value) == expected


def test_broken_utf8_is_replaced_as_go_does() -> None:
    assert load_json(b'{"a":"\xff"}') == {"a": "\ufffd"}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(b"a: yes\nb: off", {"a": True, "b": False}, id="yaml-1.1-booleans"),
        pytest.param(b"a: 010\nb: 0x1f\nc: 1_000", {"a": 8, "b": 31, "c": 1000}, id="integers"),
        pytest.param(b"a: 1e3\nb: 1.5", {"a": 1000, "b": 1.5}, id="floats"),
        pytest.param(b"a: 2020-01-01\nb: 1:20", {"a": "2020-01-01", "b": "1:20"}, id="texts"),
        pytest.param(b"1: x\ntrue: z\n", {"1": "x", "true": "z"}, id="keys-are-strings"),
        pytest.param(b"a: 1\n---\nb: 2\n", {"a": 1}, id="first-document"),
        pytest.param(b"a: &x {b: 1}\nc:\n  <<: *x\n", {"a": {"b": 1}, "c": {"b": 1}}, id="merge"),
        pytest.param(b'{"a": ["b", null]}', {"a": ["b", None]}, id="json"),
        pytest.param(b"", None, id="empty"),
    ],
)
def test_yaml(raw: bytes, expected: Any) -> None:
    assert load_yaml(raw) == (expected, ())


def test_repeated_yaml_keys_are_a_problem() -> None:
    assert load_yaml(b"data:\n  a: '1'\n  a: '2'\n") == (
        {"data": {"a": "2"}},
        ['yaml: unmarshal errors:\n  line 3: key "a" already set in map'],
    )


def test_yaml_errors() -> None:
    with pytest.raises(TextError) as caught:
        load_yaml(b"a: b: c\n")
    assert str(caught.value) == "yaml: mapping values are not allowed in this context"


def test_a_document_says_what_it_is() -> None:
    assert type_meta({"kind": "Pod", "apiVersion": "v1"}) == ("Pod", "v1")
    assert type_meta(None) == ("", "")
    assert type_meta({"kind": None}) == ("", "")


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        pytest.param(
            {"kind": 5},
            "couldn't get version/kind; json parse error: json: cannot unmarshal number into "
            "Go struct field .kind of type string",
            id="field",
        ),
        pytest.param(
            [],
            "couldn't get version/kind; json parse error: json: cannot unmarshal array into "
            'Go value of type struct { APIVersion string "json:\\"apiVersion,omitempty\\""; '
            'Kind string "json:\\"kind,omitempty\\"" }',
            id="array",
        ),
    ],
)
def test_a_document_that_does_not_say_what_it_is(doc: Any, expected: str) -> None:
    with pytest.raises(TextError) as caught:
        type_meta(doc)
    assert str(caught.value) == expected


def test_unrecognized_bodies_are_shown_in_hexadecimal() -> None:
    assert unrecognized("ConfigMap", "why", b"") == (
        "the object provided is unrecognized (must be of type ConfigMap): why (<empty>)"
    )
    assert unrecognized("Pod", "why", b"a" * 31).endswith(f"why ({'61' * 30} ...)")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(b'{"a": ":x", "b:": {"c" : 1}}', False, id="colons-in-texts"),
        pytest.param(b'{"a":1,"a":1}', True, id="repeated"),
    ],
)
def test_may_repeat(raw: bytes, expected: bool) -> None:
    assert may_repeat(raw, load_json(raw)) is expected
