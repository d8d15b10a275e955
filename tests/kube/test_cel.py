"""CEL over structural schemas: types, costs, evaluation, ratcheting."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cove.kube.cel import Rules, SchemaContext, escape, rules, unescape
from cove.kube.cel._urls import UrlError, parse_url
from cove.kube.structural import parse

OBJECT = {
    "type": "object",
    "properties": {
        "count": {"type": "integer"},
        "ratio": {"type": "number"},
        "name": {"type": "string", "maxLength": 10},
        "when": {"type": "string", "format": "date-time"},
        "wait": {"type": "string", "format": "duration"},
        "port": {"x-kubernetes-int-or-string": True},
        "namespace": {"type": "string"},
        "a-b": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "grid": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        "free": {"x-kubernetes-preserve-unknown-fields": True},
    },
}


def compiled(*rule_texts: str, **more: Any) -> Rules:
    found = rules(
        parse({**OBJECT, "x-kubernetes-validations": [{"rule": r, **more} for r in rule_texts]})
    )
    assert found is not None
    return found


def error_of(rule: str, **more: Any) -> str:
    return SchemaContext.root(parse(OBJECT)).check({"rule": rule, **more}).error


@pytest.mark.parametrize(
    "rule",
    [
        "self.count > 1",
        "self.ratio > 1.5",
        "self.name.startsWith('a')",
        "self.when < timestamp('2030-01-01T00:00:00Z')",
        "self.wait > duration('1m')",
        "type(self.port) == int ? self.port > 1 : self.port == 'x'",
        "self.__namespace__ == 'x' && self.a__dash__b == 'y'",
        "self.tags.all(t, t.size() > 0) && self.tags.isSorted()",
        "self.labels.all(k, self.labels[k] != '')",
        "self.grid.all(row, row.all(cell, cell > 0))",
        "self.?count.orValue(3) == 3",
        "has(self.name) || self.metadata.name == self.kind",
        "quantity('1Gi').isGreaterThan(quantity('1Mi'))",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && ip('::1').family() == 6",
        "url('https://a:8/b').getPort() == '8'",
        "semver('1.10.0').isGreaterThan(semver('1.9.0'))",
        "sets.contains(self.tags, ['a']) && self.tags.indexOf('a') == 0",
        "self.name.find('[0-9]+') == '' && self.name.findAll('a', 1).size() == 1",
        "'%s-%d'.format([self.name, self.count]) != ''",
        "cel.bind(x, self.count, x + 1) > 1",
    ],
)
def test_rules_that_type_check(rule: str) -> None:
    assert error_of(rule) == ""


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ("self.count >", "Syntax error: mismatched input '<EOF>'"),
        (
            "self.nope == 1",
            "ERROR: <input>:1:5: undefined field 'nope'\n | self.nope == 1\n | ....^",
        ),
        ("self.count.size() > 1", "found no matching overload for 'size' applied to 'int.()'"),
        ("size(self.count) > 1", "found no matching overload for 'size' applied to '(int)'"),
        ("self.count == 'a'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("self.count.x == 1", "type 'int' does not support field selection"),
        ("other == 1", "undeclared reference to 'other' (in container '')"),
        ("self.namespace == ''", "undefined field 'namespace'"),
        ("self.free == 1", "undefined field 'free'"),
        ("self.count", "cel expression must evaluate to a bool"),
    ],
)
def test_rules_that_do_not(rule: str, error: str) -> None:
    assert error in error_of(rule)


def test_columns_count_in_the_rule_as_it_was_written() -> None:
    found = error_of("self.nope == 1 && oldSelf.hasValue()", optionalOldSelf=True)

    assert found.endswith("\n | self.nope == 1 && oldSelf.hasValue()\n | ....^")


@pytest.mark.parametrize(
    ("rule", "value", "holds"),
    [
        ("self.count > 1", {"count": 2}, True),
        ("self.ratio > 1.5", {"ratio": 2}, True),
        (
            "self.__namespace__ == 'x' && self.a__dash__b == 'y'",
            {"namespace": "x", "a-b": "y"},
            True,
        ),
        ("self.when < timestamp('2030-01-01T00:00:00Z')", {"when": "2020-01-01T00:00:00Z"}, True),
        ("self.wait == duration('90s')", {"wait": "1m30s"}, True),
        ("self.labels['k'] == 'v'", {"labels": {"k": "v"}}, True),
        ("has(self.name)", {}, False),
        ("self.tags.sum() == 'x' || self.tags.max() == 'b'", {"tags": ["a", "b"]}, True),
        ("self.tags.exists_one(t, t == 'a')", {"tags": ["a", "a"]}, False),
    ],
)
def test_evaluation(rule: str, value: Any, holds: bool) -> None:
    assert (compiled(rule).validate(value, None) == []) is holds


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("self.name == 'x'", "no such key: name evaluating rule: self.name == 'x'"),
        ("1 / self.count == 1", "division by zero evaluating rule: 1 / self.count == 1"),
        ("self.tags[5] == ''", "index out of bounds: 5 evaluating rule: self.tags[5] == ''"),
    ],
)
def test_errors_of_evaluation(rule: str, text: str) -> None:
    (error,) = compiled(rule).validate({"count": 0, "tags": []}, None)

    assert error.text == f'Invalid value: "object": {text}'


def test_messages_reasons_and_fields() -> None:
    found = compiled(
        "self.count > 1",
        messageExpression="'count is ' + string(self.count)",
        reason="FieldValueForbidden",
        fieldPath=".count",
    )

    (error,) = found.validate({"count": 1}, None, "spec")

    assert (error.reason, error.field) == ("FieldValueForbidden", "spec.count")
    assert error.text == "Forbidden: count is 1"


def test_a_message_that_cannot_be_made_falls_back() -> None:
    found = compiled("self.count > 1", messageExpression="self.name", message="too small")

    assert found.validate({"count": 1}, None)[0].text == "Invalid value: too small"


def test_transition_rules_need_an_old_value() -> None:
    found = compiled("self.count >= oldSelf.count")

    assert found.validate({"count": 1}, None) == []
    assert found.validate({"count": 1}, {"count": 2})[0].reason == "FieldValueInvalid"
    optional = compiled("!oldSelf.hasValue() || oldSelf.value().count < 5", optionalOldSelf=True)
    assert optional.validate({"count": 1}, None) == []
    assert optional.validate({"count": 1}, {"count": 7}) != []


def test_what_has_not_changed_is_only_warned_of() -> None:
    rule = {"rule": "self > 0", "message": "positive"}
    root = parse(
        {
            "type": "object",
            "properties": {
                "a": {"type": "integer", "x-kubernetes-validations": [rule]},
                "b": {"type": "integer"},
            },
        }
    )
    found = rules(root, root=True)
    assert found is not None
    warned: list[str] = []

    same = found.validate({"a": 0, "b": 2}, {"a": 0, "b": 1}, ratchet=True, warn=warned.append)
    changed = found.validate({"a": -1}, {"a": 0}, ratchet=True)

    assert same == []
    assert warned == ["a: Invalid value: 0: positive"]
    assert [e.field for e in changed] == ["a"]


def test_old_elements_of_map_lists_are_found_by_their_keys() -> None:
    items = {
        "type": "object",
        "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.v >= oldSelf.v"}],
    }
    root = parse(
        {
            "type": "object",
            "properties": {
                "l": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["k"],
                    "items": items,
                }
            },
        }
    )
    found = rules(root, root=True)
    assert found is not None

    errors = found.validate(
        {"l": [{"k": "b", "v": 1}, {"k": "a", "v": 2}]},
        {"l": [{"k": "a", "v": 1}, {"k": "b", "v": 2}]},
    )

    assert [e.field for e in errors] == ["l[0]"]


@pytest.mark.parametrize(
    ("rule", "value", "holds"),
    [
        ("!format.dns1123Label().validate(self.name).hasValue()", "a-b", True),
        ("!format.dns1123Label().validate(self.name).hasValue()", "A_b", False),
        (
            "format.uuid().validate(self.name).value() == ['does not match the UUID format']",
            "x",
            True,
        ),
        ("format.byte().validate(self.name).orValue([]).size() == 0", "YQ==", True),
        ("format.date().validate(self.name).value()[0] == 'invalid date'", "2026-99-99", True),
        ("format.uri().validate(self.name).value()[0].startsWith('parse \"x\"')", "x", True),
        ("(format.dns1035Label()) . validate (self.name + ')') . hasValue()", "a", True),
        (
            "self.name != '.validate(' && !format.qualifiedName().validate('a/b').hasValue()",
            "a",
            True,
        ),
        # None is not null.
        ("format.dns1123Label().validate(self.name) == null", "a", False),
    ],
)
def test_formats_tell_what_is_wrong_as_an_optional(rule: str, value: str, holds: bool) -> None:
    schema = parse({**OBJECT, "x-kubernetes-validations": [{"rule": rule}]})
    assert SchemaContext.root(schema).check({"rule": rule}).error == ""
    found = rules(schema, root=True)
    assert found is not None

    assert (found.validate({"name": value}, None) == []) is holds


def test_what_a_format_cannot_take_is_told_where_it_was_written() -> None:
    error = (
        SchemaContext.root(parse(OBJECT)).check({"rule": "format.uuid().validate(1) == null"}).error
    )

    assert error == (
        "compilation failed: ERROR: <input>:1:23: found no matching overload for 'validate' "
        "applied to 'kubernetes.NamedFormat.(int)'\n | format.uuid().validate(1) == null\n"
        " | ......................^"
    )


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("https://a.b:80/c/d?e=f", ("https", "a.b:80", "a.b", "80", "/c/d", {"e": ["f"]})),
        ("HTTP://u:p@a/x y#z", ("http", "a", "a", "", "/x%20y%23z", {})),
        ("https://[::1]:8/", ("https", "[::1]:8", "::1", "8", "/", {})),
        ("mailto:me?a", ("mailto", "", "", "", "", {"a": [""]})),
        ("/path", ("", "", "", "", "/path", {})),
        ("oci://a", ("oci", "a", "a", "", "", {})),
    ],
)
def test_urls(text: str, parts: tuple[Any, ...]) -> None:
    url = parse_url(text)
    assert (url.scheme, url.host, url.hostname, url.port, url.path, url.parameters) == parts


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty url"),
        ("a/b", "invalid URI for request"),
        (":a", "missing protocol scheme"),
        ("http://#%blah$#@", "net/url: invalid userinfo"),
        ("http://a b/", 'invalid character " " in host name'),
        ("http://a:b/", 'invalid port ":b" after host'),
        ("http://::1/", 'invalid port "::1" after host'),
        ("http://[::1/", "missing ']' in host"),
        ("http://a/%zz", 'invalid URL escape "%zz"'),
        ("http://a%41/", 'invalid URL escape "%41"'),
        ("http://a/\n", "net/url: invalid control character in URL"),
    ],
)
def test_what_go_takes_for_no_url(text: str, why: str) -> None:
    with pytest.raises(UrlError) as raised:
        parse_url(text)
    assert str(raised.value) == f"parse {json.dumps(text)}: {why}"


def test_a_conversion_that_fails_is_told_in_cel_gos_words() -> None:
    schema = parse({**OBJECT, "x-kubernetes-validations": [{"rule": "int(self.name) > 1"}]})
    (error,) = rules(schema, root=True).validate({"name": "a"}, None)
    assert "type conversion error from 'string' to 'int'" in error.text


@pytest.mark.parametrize(
    ("rule", "cost"),
    [
        ("self.count > 1", 3),
        ("self.name == 'abc'", 3),
        # Whether something is there costs nothing: in Kubernetes, not in CEL.
        ("has(self.name)", 1),
    ],
)
def test_costs(rule: str, cost: int) -> None:
    assert SchemaContext.root(parse(OBJECT)).check({"rule": rule}).cost == cost


def test_nested_loops_over_unbounded_lists_cost_too_much() -> None:
    context = SchemaContext.root(parse(OBJECT))
    errors: list[Any] = []

    cost = context.check({"rule": "self.tags.all(a, self.tags.all(b, a == b))"}).cost
    context.judge(cost, "estimated rule cost", "p", errors)
    context.total.observe("p", cost)

    assert "exceeds budget by factor of more than 100x" in errors[0].text
    assert len(context.total.errors("s")) == 2


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("a", "a"),
        ("namespace", "__namespace__"),
        ("a-b", "a__dash__b"),
        ("a.b/c", "a__dot__b__slash__c"),
        ("a__b", "a__underscores__b"),
        ("1a", None),
        ("a b", None),
    ],
)
def test_escapes(name: str, identifier: str | None) -> None:
    assert escape(name) == identifier
    if identifier is not None:
        assert unescape(identifier) == name
