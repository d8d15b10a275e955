"""Label and field selectors: grammar, texts of errors, matching."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.kube import fields, labels

KEYS = st.from_regex(r"[a-z]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
VALUES = st.from_regex(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,8}[A-Za-z0-9])?)?", fullmatch=True)
REQUIREMENTS = st.one_of(
    st.builds(labels.Requirement, KEYS, st.sampled_from(["=", "==", "!="]), st.tuples(VALUES)),
    st.builds(
        labels.Requirement,
        KEYS,
        st.sampled_from(["in", "notin"]),
        st.sets(VALUES, min_size=1, max_size=4).map(lambda v: tuple(sorted(v))),
    ),
    st.builds(labels.Requirement, KEYS, st.sampled_from(["exists", "!"]), st.just(())),
    st.builds(
        labels.Requirement,
        KEYS,
        st.sampled_from(["gt", "lt"]),
        st.tuples(st.integers(0, 99).map(str)),
    ),
)


@given(st.lists(REQUIREMENTS, max_size=5))
def test_a_selector_reads_back_from_its_text(requirements: list[labels.Requirement]) -> None:
    selector = labels.Selector(requirements)

    assert labels.parse(str(selector)) == selector


@given(st.lists(REQUIREMENTS, max_size=4), st.dictionaries(KEYS, VALUES, max_size=4))
def test_a_selector_is_the_conjunction_of_its_requirements(
    requirements: list[labels.Requirement], have: dict[str, str]
) -> None:
    assert labels.Selector(requirements).matches(have) == all(r.matches(have) for r in requirements)


@pytest.mark.parametrize(
    ("text", "have", "selected"),
    [
        ("a=1", {"a": "1"}, True),
        ("a==1,b!=2", {"a": "1"}, True),
        ("a in (1,2)", {"a": "3"}, False),
        ("a notin (1)", {}, True),
        ("a", {"a": ""}, True),
        ("!a", {"a": ""}, False),
        ("a>3", {"a": "10"}, True),
        ("a<3", {"a": "x"}, False),
        ("in in (notin)", {"in": "notin"}, True),
        ("a in (,x)", {"a": ""}, True),
        ("a=", {"a": ""}, True),
        ("", {"a": "1"}, True),
    ],
)
def test_matching(text: str, have: dict[str, str], selected: bool) -> None:
    assert labels.parse(text).matches(have) is selected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a==,=b", "found '=', expected: identifier after ','"),
        ("a===b", "unable to parse requirement: found '=', expected: identifier"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        (
            "a>x",
            "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        (
            "x" * 64,
            f'unable to parse requirement: <nil>: Invalid value: "{"x" * 64}": name part must be no more than 63 bytes',
        ),
    ],
)
def test_what_cannot_be_read_is_told_in_upstreams_words(text: str, error: str) -> None:
    with pytest.raises(labels.SelectorError) as raised:
        labels.parse(text)

    assert str(raised.value) == error


def test_documents_become_selectors_and_texts() -> None:
    document: dict[str, Any] = {
        "matchLabels": {"app": "d"},
        "matchExpressions": [{"key": "tier", "operator": "In", "values": ["b", "a"]}],
    }

    selector = labels.from_document(document)

    assert selector.matches({"app": "d", "tier": "a"})
    assert labels.format_document(document) == "app=d,tier in (a,b)"
    assert labels.from_document({}).matches({})
    assert not labels.from_document(None).matches({})
    assert labels.format_document(None) == labels.format_document({}) == "<none>"


def test_a_bad_document_is_told_field_by_field() -> None:
    errors = labels.validate_document(
        {
            "matchExpressions": [
                {"key": "app", "operator": "Is", "values": ["d"]},
                {"key": "", "operator": "In"},
            ]
        },
        "spec.selector",
    )

    assert [(e.field, e.text[:50]) for e in errors] == [
        ("spec.selector.matchExpressions[0].operator", 'Invalid value: "Is": not a valid selector operator'),
        ("spec.selector.matchExpressions[1].values", "Required value: must be specified when `operator` "),
        ("spec.selector.matchExpressions[1].key", 'Invalid value: "": name part must be non-empty'),
        ("spec.selector.matchExpressions[1].key", 'Invalid value: "": name part must consist of alpha'),
    ]  # fmt: skip


@given(st.lists(st.tuples(KEYS, st.booleans(), st.text(max_size=6)), max_size=4))
def test_a_field_selector_reads_back_from_its_text(terms: list[tuple[str, bool, str]]) -> None:
    selector = fields.Selector(tuple(fields.Term(*t) for t in terms))

    again = fields.parse(str(selector))

    assert sorted(again.terms) == sorted(selector.terms)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        ("a=b\\x", "invalid field selector: invalid escape sequence: \\x"),
    ],
)
def test_bad_field_selectors(text: str, error: str) -> None:
    with pytest.raises(labels.SelectorError) as raised:
        fields.parse(text)

    assert str(raised.value) == error


def test_field_selectors_match_absent_fields_as_empty() -> None:
    selector = fields.parse("spec.nodeName==,metadata.name!=a\\,b")

    assert selector.matches({"metadata.name": "x"})
    assert not selector.matches(lambda f: "a,b" if f == "metadata.name" else "")
