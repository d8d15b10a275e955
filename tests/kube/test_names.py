"""Names, labels and metadata: the texts a real API server gives."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from cove.kube import metadata, names
from cove.kube.gvk import GVK, parse_api_version, version_priority

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_1035 = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
    "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
    "validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)


@pytest.mark.parametrize(
    ("check", "value", "expected"),
    [
        (names.is_dns1123_subdomain, "a.b-c", []),
        (names.is_dns1123_subdomain, "Not_Valid", [SUBDOMAIN]),
        (names.is_dns1123_subdomain, "a\n", [SUBDOMAIN]),
        (names.is_dns1123_label, "a.b", ["must not contain dots"]),
        (names.is_dns1123_label, "a" * 64, ["must be no more than 63 characters"]),
        (names.is_dns1035_label, "1a", [LABEL_1035]),
        (names.is_label_key, "x" * 64, ["name part must be no more than 63 bytes"]),
        (names.is_label_key, "/a", ["prefix part must be non-empty"]),
        (names.is_annotation_key, "Example.COM/Key", []),
        (names.is_label_value, "", []),
        (names.is_port_name, "a--b-", ["must not contain consecutive hyphens", "must not begin or end with a hyphen"]),
        (names.is_config_map_key, "..x", ["must not start with '..'"]),
        (names.is_path_segment_name, "a/b%", ["may not contain '/'", "may not contain '%'"]),
        (names.is_relaxed_env_var_name, "a b", []),
        (names.is_port_number, 0, ["must be between 1 and 65535, inclusive"]),
        (names.is_fully_qualified_name, "a.b", ["should be a domain with at least three segments separated by dots"]),
    ],
)  # fmt: skip
def test_a_value_is_judged_in_upstreams_words(check: Any, value: Any, expected: list[str]) -> None:
    assert check(value) == expected


def test_a_label_key_with_two_slashes_is_told_with_both_forms() -> None:
    (text,) = names.is_label_key("a/b/c")

    assert text.startswith("a valid label key must consist of alphanumeric characters")
    assert text.endswith(
        "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
    )


def test_generated_names_stay_within_63_characters() -> None:
    name = names.generate_name("x" * 80, Random(1))

    assert len(name) == 63
    assert set(name[58:]) <= set("bcdfghjklmnpqrstvwxz2456789")


@pytest.mark.parametrize(
    ("meta", "field", "text"),
    [
        ({}, "metadata.name", "Required value: name or generateName is required"),
        ({"name": "a", "namespace": "n"}, "metadata.namespace", "Forbidden: not allowed on this type"),
        ({"name": "a", "annotations": {"k": "x" * 262144}}, "metadata.annotations", "Too long: may not be more than 262144 bytes"),
        ({"name": "a", "finalizers": ["unqualified"]}, "metadata.finalizers[0]",
         'Invalid value: "unqualified": name is neither a standard finalizer name nor is it fully qualified'),
        ({"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "Event", "name": "e", "uid": "u"}]},
         "metadata.ownerReferences[0]",
         'Invalid value: {"apiVersion":"v1","kind":"Event","name":"e","uid":"u"}: /v1, Kind=Event is disallowed from being an owner'),
        ({"name": "a", "managedFields": [{"manager": "m"}]}, "metadata.managedFields[0].operation", "Required value: must not be empty"),
    ],
    ids=["no-name", "namespace", "annotations", "finalizer", "event-owner", "managed"],
)  # fmt: skip
def test_metadata_of_a_new_object(meta: dict[str, Any], field: str, text: str) -> None:
    errors = metadata.validate_object_meta(
        meta, namespaced=False, name_check=names.is_dns1123_subdomain
    )

    assert [(e.field, e.text) for e in errors] == [(field, text)]


def test_only_one_owner_may_control() -> None:
    owners = [
        {"apiVersion": "x/v1", "kind": "Owner", "name": n, "uid": n, "controller": True}
        for n in ("o2", "o1")
    ]

    (error,) = metadata.validate_owner_references(owners, "metadata.ownerReferences")

    assert error.text.endswith(
        'Only one reference can have Controller set to true. Found "true" in references for Owner/o2 and Owner/o1'
    )


def test_a_deleted_object_takes_no_new_finalizers_and_keeps_its_identity() -> None:
    old = {
        "name": "f",
        "uid": "1",
        "resourceVersion": "1",
        "deletionTimestamp": "2020-01-01T00:00:00Z",
    }
    new = {"name": "f", "uid": "2", "resourceVersion": "1", "finalizers": ["parity.test/c"]}

    errors = metadata.validate_object_meta_update(new, old)

    assert len(errors) == 6
    assert [(e.field, e.text) for e in errors[:3]] == [
        (
            "metadata.finalizers",
            (
                "Forbidden: no new finalizers can be added if the object is being deleted, "
                'found new finalizers []string{"parity.test/c"}'
            ),
        ),
        ("metadata.uid", 'Invalid value: "2": field is immutable'),
        ("metadata.deletionTimestamp", "Invalid value: null: field is immutable"),
    ]


@pytest.mark.parametrize(
    ("change", "built_in", "custom"),
    [
        ({"uid": "2"}, 2, 2),
        ({"labels": {"a b": "c"}}, 4, 3),
        ({"annotations": {"a b": "c"}}, 4, 3),
        ({"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]}, 4, 3),
        ({"finalizers": ["unqualified"]}, 2, 0),
        ({"finalizers": ["a b"]}, 4, 1),
        ({}, 0, 0),
    ],
)
def test_a_fault_of_an_update_is_told_as_often_as_upstream_finds_it(
    change: dict[str, Any], built_in: int, custom: int
) -> None:
    """The common fields by everybody, and once more by the kind."""
    old = {"name": "f", "uid": "1", "resourceVersion": "1"}

    def count(core: bool) -> int:
        return len(
            metadata.validate_object_meta_update({**old, **change}, old, core_finalizers=core)
        )

    assert (count(True), count(False)) == (built_in, custom)


def test_versions_sort_stable_and_newest_first() -> None:
    versions = ["v1alpha1", "foo", "v1", "v2beta1", "v10", "v1beta2", "bar"]

    assert sorted(versions, key=version_priority) == [
        "v10", "v1", "v2beta1", "v1beta2", "v1alpha1", "bar", "foo",
    ]  # fmt: skip


def test_api_versions_split_and_print() -> None:
    assert parse_api_version("apps/v1") == ("apps", "v1")
    assert parse_api_version("v1") == ("", "v1")
    assert str(GVK("", "v1", "Pod")) == "/v1, Kind=Pod"
    with pytest.raises(ValueError, match="unexpected GroupVersion string: a/b/c"):
        parse_api_version("a/b/c")
