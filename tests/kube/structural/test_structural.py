"""Structural schemas: what they keep, fill in, allow, and what they are themselves."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.kube import catalogue
from cove.kube.structural import (
    FieldPathError,
    PatternError,
    compile_pattern,
    find_field,
    is_known_format,
    normalize,
    parse,
    to_node,
    unknown_fields,
    validate_embedded,
    validate_lists,
    validate_structural,
    validate_value,
)


def schema(**spec: Any) -> dict[str, Any]:
    """A root schema with these properties of spec."""
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}}


def told(errors: list[Any]) -> list[str]:
    return [f"{e.field}: {e.text}" for e in errors]


STRING = {"type": "string"}
INTEGER = {"type": "integer"}


@pytest.mark.parametrize(
    ("properties", "given_", "expected"),
    [
        ({"a": INTEGER}, {"a": 1, "b": 2}, {"a": 1}),
        ({"a": {**INTEGER, "default": 3}}, {}, {"a": 3}),
        ({"a": {**INTEGER, "default": 3}}, {"a": None}, {"a": 3}),
        ({"a": {**INTEGER, "default": 3, "nullable": True}}, {"a": None}, {"a": None}),
        ({"a": INTEGER}, {"a": None}, {}),
        ({"a": {"type": "object", "properties": {}}}, {"a": {"x": {"y": 1}}}, {"a": {}}),
        (
            {
                "a": {
                    "type": "object",
                    "default": {},
                    "properties": {"b": {**STRING, "default": "d"}},
                }
            },
            {},
            {"a": {"b": "d"}},
        ),
        (
            {"a": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            {"a": {"x": [None, {"y": 1}]}},
            {"a": {"x": [None, {"y": 1}]}},
        ),
        (
            {"a": {"type": "object", "additionalProperties": INTEGER}},
            {"a": {"x": 1, "y": None}},
            {"a": {"x": 1}},
        ),
        (
            {"a": {"type": "object", "additionalProperties": True}},
            {"a": {"x": {"y": 1}}},
            {"a": {"x": {}}},
        ),
        (
            {
                "a": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"k": {**STRING, "default": "d"}}},
                }
            },
            {"a": [{}, {"k": "x", "z": 1}]},
            {"a": [{"k": "d"}, {"k": "x"}]},
        ),
        ({"a": INTEGER}, {"a": 5.0}, {"a": 5}),
    ],
    ids=[
        "prune",
        "default",
        "null-default",
        "nullable",
        "null-dropped",
        "nested-prune",
        "default-in-default",
        "preserve",
        "map-null",
        "map-any",
        "list-defaults",
        "whole-float",
    ],
)
def test_normal_form(properties: dict[str, Any], given_: Any, expected: Any) -> None:
    found, _ = normalize(parse(schema(**properties)), {"spec": given_})

    assert found["spec"] == expected


def test_what_is_normal_is_shared() -> None:
    root = parse(schema(a=INTEGER, l={"type": "array", "items": INTEGER}))
    obj = {"kind": "X", "metadata": {"name": "n"}, "spec": {"a": 1, "l": [1, 2]}}

    found, dropped = normalize(root, obj)

    assert found is obj
    assert not dropped


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abxy"), inner),
        max_leaves=12,
    )
)
def test_normalizing_twice_changes_nothing(value: Any) -> None:
    inner = {"type": "object", "properties": {"x": {**INTEGER, "default": 1}, "y": STRING}}
    root = parse(schema(a=inner, b={"type": "array", "items": inner}))

    once, _ = normalize(root, {"spec": value})
    twice, dropped = normalize(root, once)

    assert twice == once
    assert not dropped


def test_unknown_fields_are_named_where_they_were() -> None:
    root = parse(
        schema(l={"type": "array", "items": {"type": "object", "properties": {"k": STRING}}})
    )

    found = unknown_fields(
        root, {"spec": {"z": 1, "l": [{"k": "a"}, {"q": 1}]}, "top": 1, "kind": "X"}
    )

    assert found == ["spec.l[1].q", "spec.z", "top"]


@pytest.mark.parametrize(
    ("property_", "value", "expected"),
    [
        (
            INTEGER,
            "5",
            'spec.a: Invalid value: "string": spec.a in body must be of type integer: "string"',
        ),
        (
            {**INTEGER, "maximum": 10},
            11,
            "spec.a: Invalid value: 11: spec.a in body should be less than or equal to 10",
        ),
        (
            {**INTEGER, "minimum": 1, "exclusiveMinimum": True},
            1,
            "spec.a: Invalid value: 1: spec.a in body should be greater than 1",
        ),
        ({**STRING, "maxLength": 2}, "abc", "spec.a: Too long: may not be more than 2 bytes"),
        (
            {**STRING, "minLength": 2},
            "a",
            'spec.a: Invalid value: "a": spec.a in body should be at least 2 chars long',
        ),
        (
            {**STRING, "pattern": "^a$"},
            "b",
            "spec.a: Invalid value: \"b\": spec.a in body should match '^a$'",
        ),
        (
            {**STRING, "enum": ["x", "y"]},
            "z",
            'spec.a: Unsupported value: "z": supported values: "x", "y"',
        ),
        (
            {**STRING, "format": "ipv4"},
            "x",
            'spec.a: Invalid value: "x": spec.a in body must be of type ipv4: "x"',
        ),
        (
            {**INTEGER, "format": "int32"},
            3 * 10**9,
            '<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.a',
        ),
        (
            {"type": "array", "items": STRING, "maxItems": 1},
            ["a", "b"],
            "spec.a: Too many: 2: must have at most 1 item",
        ),
        (
            {"type": "array", "items": STRING, "minItems": 1},
            [],
            "spec.a: Invalid value: 0: spec.a in body should have at least 1 items",
        ),
        ({"type": "object", "required": ["b"]}, {}, "spec.a.b: Required value"),
        (
            {"type": "object", "additionalProperties": False},
            {"b": 1},
            'spec.a: Invalid value: "b": spec.a.b in body is a forbidden property',
        ),
        (
            {"x-kubernetes-int-or-string": True},
            True,
            'spec.a: Invalid value: "boolean": spec.a in body must be of type integer,string: "boolean"',
        ),
        (
            {"type": "number", "multipleOf": 0.5},
            0.7,
            "spec.a: Invalid value: 0.7: spec.a in body should be a multiple of 0.5",
        ),
        (
            {**STRING, "not": {"enum": ["bad"]}},
            "bad",
            '<nil>: Invalid value: "": "spec.a" must not validate the schema (not)',
        ),
    ],
    ids=lambda v: None,
)
def test_values_are_judged_in_upstreams_words(property_: Any, value: Any, expected: str) -> None:
    errors = validate_value(parse(schema(a=property_)), {"spec": {"a": value}})

    assert told(errors) == [expected]


def test_junctors_tell_the_alternative_that_got_furthest() -> None:
    root = parse(schema(a={**INTEGER, "anyOf": [{"maximum": 2}, {"minimum": 8}]}))

    errors = validate_value(root, {"spec": {"a": 5}})

    assert told(errors) == [
        '<nil>: Invalid value: "": "spec.a" must validate at least one schema (anyOf)',
        "spec.a: Invalid value: 5: spec.a in body should be less than or equal to 2",
    ]


def test_what_has_not_changed_is_not_judged_again() -> None:
    items = {"type": "object", "properties": {"k": STRING, "v": {**INTEGER, "maximum": 1}}}
    root = parse(
        schema(
            a={**INTEGER, "maximum": 1},
            l={
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
                "items": items,
            },
        )
    )
    old = {"spec": {"a": 5, "l": [{"k": "x", "v": 7}, {"k": "y", "v": 1}]}}
    new = {"spec": {"a": 5, "l": [{"k": "y", "v": 9}, {"k": "x", "v": 7}]}}

    assert told(validate_value(root, new, "", old)) == [
        "spec.l[0].v: Invalid value: 9: spec.l[0].v in body should be less than or equal to 1"
    ]


def test_sets_and_maps_have_no_duplicates() -> None:
    root = parse(
        schema(
            s={"type": "array", "items": STRING, "x-kubernetes-list-type": "set"},
            m={
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": STRING}},
            },
        )
    )

    errors = validate_lists(
        root, {"spec": {"s": ["a", "b", "a", "a"], "m": [{"k": "x"}, {"k": "x"}]}}
    )

    assert told(errors) == [
        'spec.s[2]: Duplicate value: "a"',
        'spec.m[1]: Duplicate value: {"k":"x"}',
    ]


def test_embedded_resources_say_what_they_are() -> None:
    root = parse(
        schema(
            e={
                "type": "object",
                "x-kubernetes-embedded-resource": True,
                "x-kubernetes-preserve-unknown-fields": True,
            }
        )
    )

    errors = validate_embedded(root, {"spec": {"e": {"kind": "a_b"}}})

    assert told(errors)[0] == "spec.e.apiVersion: Required value"
    assert errors[1].field == "spec.e.kind"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"properties": {"a": STRING}}, "s.type: Required value: must not be empty at the root"),
        (
            schema(a={}),
            "s.properties[spec].properties[a].type: Required value: must not be empty for specified object fields",
        ),
        (
            schema(a={"type": "array"}),
            "s.properties[spec].properties[a].items: Required value: must be specified",
        ),
        (
            schema(a={**STRING, "allOf": [{"type": "string"}]}),
            "s.properties[spec].properties[a].allOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            schema(a={**STRING, "pattern": "("}),
            's.properties[spec].properties[a].pattern: Invalid value: "(": must be a valid regular expression, but isn\'t: error parsing regexp: missing closing ): `(`',
        ),
    ],
    ids=["root-type", "field-type", "items", "junctor-type", "pattern"],
)
def test_what_is_not_structural(document: Any, expected: str) -> None:
    assert told(validate_structural(document, "s")) == [expected]


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (r"^a$", "a\n", False),
        (r"^[[:alpha:]]+$", "abc", True),
        (r"^\d+$", "\u0663", False),
        (r"(?i)^abc$", "ABC", True),
        (r"\p{Lu}", "x\u00c9", True),
        (r"^a\z", "a", True),
        (r"^[^\]]+$", "a]b", False),
        (r"\Qa.b\E", "axb", False),
        (r"^(?i)(abort|warn)?$", "WARN", True),
        (r"^(?i)(abort|warn)?$", "warned", False),
        (r"^a(?i)b|c$", "Ab", False),
        (r"^a(?i)b|c$", "aB", True),
        (r"^a(?i)b|c$", "xC", True),
        (r"^(?:a(?i)b)c$", "aBC", False),
        (r"^(?i)a(?-i)b$", "Ab", True),
        (r"^(?i)a(?-i)b$", "AB", False),
        (r"^(?i-s:A)b$", "ab", True),
        (r"(?m)^b$", "a\nb\nc", True),
        (r"^(?m:a$)", "a\nb", True),
        (r"^(?m:a$)\nb$", "a\nb\n", False),
        (r"(?U)a+", "aa", True),
        (r"^(?)a$", "a", True),
    ],
)
def test_gos_patterns(pattern: str, text: str, matches: bool) -> None:
    assert bool(compile_pattern(pattern).search(text)) is matches


@pytest.mark.parametrize(
    "pattern", ["(", "a)", "[a", "*a", "a**", "(?=a)", "\\", "(?<!a)b", "a(?i)*", "(?-)a"]
)
def test_patterns_that_go_refuses(pattern: str) -> None:
    with pytest.raises(PatternError, match="error parsing regexp"):
        compile_pattern(pattern)


def test_field_paths() -> None:
    root = parse(schema(m={"type": "object", "additionalProperties": STRING}))

    assert find_field(root, ".spec.m['a.b']")[0] == "spec.m[a.b]"
    with pytest.raises(FieldPathError, match="does not refer to a valid field"):
        find_field(root, ".spec.nope")
    with pytest.raises(FieldPathError, match="array notation is not allowed"):
        find_field(root, ".spec['m']", allow_brackets=False)


def test_node_keeps_what_apply_needs() -> None:
    items = {"type": "object", "properties": {"k": STRING, "p": {**STRING, "default": "TCP"}}}
    root = parse(
        schema(
            l={
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k", "p"],
                "items": items,
            }
        )
    )

    node = to_node(root, catalogue.schema("", "v1", "ConfigMap").fields["metadata"].node)
    listed = node.fields["spec"].node.fields["l"].node

    assert (listed.list_type, listed.keys, listed.key_defaults) == ("map", ("k", "p"), {"p": "TCP"})
    assert set(node.fields) == {"apiVersion", "kind", "metadata", "spec"}


@pytest.mark.parametrize(
    ("format", "type", "known"),
    [
        ("date-time", "string", True),
        ("nope", "string", False),
        ("int32", "integer", True),
        ("int32", "number", False),
    ],
)
def test_known_formats(format: str, type: str, known: bool) -> None:
    assert is_known_format(format, type) is known


@pytest.mark.parametrize(
    ("format", "good", "bad"),
    [
        ("uri", "http://x/", "x y"),
        ("email", "a@b.c", "a"),
        ("hostname", "a.example.com", "_"),
        ("ipv6", "::1", "1.2.3.4"),
        ("cidr", "10.0.0.0/8", "10.0.0.0/40"),
        ("mac", "01:02:03:04:05:ab", "01:02"[:4]),
        ("uuid", "11111111-2222-3333-4444-555555555555", "1"),
        ("byte", "eA==", "!"),
        ("date", "2020-02-29", "2021-02-29"),
        ("date-time", "2020-01-01T00:00:00.5Z", "2020-01-01"),
        ("duration", "1h2m", "x"),
        ("isbn10", "0321751043", "0321751044"),
        ("hexcolor", "#fff", "#ggg"),
        ("ssn", "123-45-6789", "1"),
        ("k8s-short-name", "a-b", "A"),
    ],
)
def test_formats(format: str, good: str, bad: str) -> None:
    root = parse(schema(a={**STRING, "format": format}))

    assert validate_value(root, {"spec": {"a": good}}) == []
    assert validate_value(root, {"spec": {"a": bad}})[0].reason == "FieldValueTypeInvalid"
