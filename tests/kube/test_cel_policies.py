"""Initializers of mutating policies, and what expressions of policies may be."""

from __future__ import annotations

import pytest

from cove.kube.cel._objects import TypeMismatchError, as_maps, check_names, plain
from cove.kube.cel._policy import PolicyChecker, Purpose, check_device


@pytest.mark.parametrize(
    ("source", "text"),
    [
        pytest.param("Object{}", '{"@type": "Object"}', id="empty"),
        pytest.param(
            "Object{a: c ? x : y, ?b: Object.b{z: {'k': v}}}",
            '{"@type": "Object", "a": c ? x : y, ?"b": {"@type": "Object.b", "z": {\'k\': v}}}',
            id="fields, conditions and maps",
        ),
        pytest.param(
            "Object{__namespace__: 1}", '{"@type": "Object", "namespace": 1}', id="escaped names"
        ),
        pytest.param("'Object{a: 1}'", "'Object{a: 1}'", id="strings"),
        pytest.param("x.Object == Object", "x.Object == Object", id="other uses of the name"),
    ],
)
def test_initializers_become_maps(source: str, text: str) -> None:
    assert as_maps(source).text == text


def test_names_are_those_of_the_places() -> None:
    value = {"@type": "Object", "spec": {"l": [{"@type": "Object.spec.l", "a": 1}]}}
    check_names(value)
    assert plain(value) == {"spec": {"l": [{"a": 1}]}}
    with pytest.raises(TypeMismatchError, match=r'unexpected type name "Object\.spec"'):
        check_names({"@type": "Object", "status": {"@type": "Object.spec"}})


@pytest.mark.parametrize(
    ("expression", "purpose", "problem"),
    [
        pytest.param("true", "validation", "", id="bool"),
        pytest.param("[1]", "match", "must evaluate to bool but got list(int)", id="list"),
        pytest.param("1", "message", "must evaluate to string but got int", id="message"),
        pytest.param("null", "audit", "", id="null is no annotation"),
        pytest.param("1", "audit", "must evaluate to one of [string null_type]", id="audit"),
        pytest.param("Object{}", "apply", "", id="object"),
        pytest.param(
            "{'a': 1}", "apply", "must evaluate to Object but got map(string, int)", id="map"
        ),
        pytest.param("[JSONPatch{op: 'remove', path: '/a'}]", "patch", "", id="patch"),
        pytest.param(
            "[1]", "patch", "must evaluate to list(JSONPatch) but got list(int)", id="no patch"
        ),
        pytest.param("variables.n > 1", "validation", "", id="variable"),
        pytest.param(
            "Object{\n metadata: nope.x}",
            "apply",
            "compilation failed: ERROR: <input>:2:12: undeclared reference to 'nope' "
            "(in container '')\n |  metadata: nope.x}\n | ...........^",
            id="places are those of the source",
        ),
    ],
)
def test_expressions_are_checked_for_their_purpose(
    expression: str, purpose: Purpose, problem: str
) -> None:
    checker = PolicyChecker(params=False)
    assert checker.declare("n", "size('abc')") == ""
    assert checker.check(expression, purpose) == problem


def test_device_selectors_know_the_fields_of_devices() -> None:
    assert check_device("device.attributes['d'].model == 'x'") == ""
    assert check_device("device.driver") == "must evaluate to bool"
    assert "undefined field 'nope'" in check_device("device.nope")
