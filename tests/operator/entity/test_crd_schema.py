"""Schemas from types: every hint, every marker, and what is refused, with its path."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import annotated_types
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.entity.caches import CacheSpec, Port, Tier

from cove.kube.quantity import Quantity as ExactQuantity
from cove.kube.structural import normalize, parse, validate_lists, validate_value
from cove.operator import (
    Column,
    Condition,
    Default,
    Description,
    Embedded,
    EmbeddedResource,
    Entity,
    EntityError,
    ExternalDocs,
    Float32,
    Format,
    Ignore,
    Immutable,
    Int32,
    IntOrString,
    Items,
    Length,
    ListAtomic,
    ListMap,
    ListSet,
    MapAtomic,
    MapGranular,
    MultipleOf,
    Nullable,
    ObjectMeta,
    Pattern,
    PreserveUnknown,
    Properties,
    Quantity,
    Range,
    Required,
    Rule,
    SchemaError,
    Struct,
    crd,
    entity,
    field,
    from_document,
    mark,
    schema_of,
    to_document,
)

INT_OR_STRING = {
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "x-kubernetes-int-or-string": True,
}
STRING = {"type": "string"}
INTEGER = {"type": "integer", "format": "int64"}
ANY = {"x-kubernetes-preserve-unknown-fields": True}


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Inner(Struct):
    """Inside."""

    name: str
    """What it is called."""
    weight: int = 3


INNER = {
    "type": "object",
    "description": "Inside.",
    "properties": {
        "name": {"type": "string", "description": "What it is called."},
        "weight": {**INTEGER, "default": 3},
    },
    "required": ["name"],
}


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (int, INTEGER),
        (Int32, {"type": "integer", "format": "int32"}),
        (float, {"type": "number", "format": "double"}),
        (Float32, {"type": "number", "format": "float"}),
        (bool, {"type": "boolean"}),
        (str, STRING),
        (datetime, {"type": "string", "format": "date-time"}),
        (date, {"type": "string", "format": "date"}),
        (timedelta, {"type": "string", "format": "duration"}),
        (bytes, {"type": "string", "format": "byte"}),
        (UUID, {"type": "string", "format": "uuid"}),
        (Tier, {"type": "string", "enum": ["hot", "cold"]}),
        (Level, {"type": "integer", "enum": [1, 2]}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal["a", None], {"type": "string", "enum": ["a", None], "nullable": True}),
        (Literal[True], {"type": "boolean", "enum": [True]}),
        (str | None, {**STRING, "nullable": True}),
        (dict[str, int], {"type": "object", "additionalProperties": INTEGER}),
        (
            dict[str, int | None],
            {"type": "object", "additionalProperties": {**INTEGER, "nullable": True}},
        ),
        (dict[str, Any], {"type": "object", **ANY}),
        (dict, {"type": "object", **ANY}),
        (Any, ANY),
        (list[str], {"type": "array", "items": STRING}),
        (list, {"type": "array", "items": ANY}),
        (tuple[str, ...], {"type": "array", "items": STRING}),
        (set[str], {"type": "array", "items": STRING, "x-kubernetes-list-type": "set"}),
        (frozenset[int], {"type": "array", "items": INTEGER, "x-kubernetes-list-type": "set"}),
        (IntOrString, INT_OR_STRING),
        (Inner, INNER),
        (list[Inner], {"type": "array", "items": INNER}),
        (
            dict[str, list[Inner]],
            {"type": "object", "additionalProperties": {"type": "array", "items": INNER}},
        ),
        (EmbeddedResource, {"type": "object", "x-kubernetes-embedded-resource": True, **ANY}),
    ],
    ids=str,
)
def test_a_hint_has_a_schema(hint: Any, expected: dict[str, Any]) -> None:
    assert schema_of(hint) == expected


def test_a_pattern_holds_for_the_texts_of_an_int_or_string() -> None:
    assert schema_of(Annotated[IntOrString, Pattern("^[0-9]+%$")]) == {
        **INT_OR_STRING,
        "pattern": "^[0-9]+%$",
    }


@pytest.mark.parametrize("hint", [Quantity, ExactQuantity])
@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("500m", True),
        ("1Gi", True),
        ("1.5", True),
        ("-1e3", True),
        ("1 Gi", False),
        ("", False),
        ("1G1", False),
    ],
)
def test_a_quantity_is_a_number_or_a_text_with_a_unit(hint: Any, text: str, fits: bool) -> None:
    found = schema_of(hint)

    assert {k: v for k, v in found.items() if k != "pattern"} == INT_OR_STRING
    assert bool(re.search(found["pattern"], text)) is fits


@pytest.mark.parametrize(
    ("hint", "adds"),
    [
        (Annotated[str, Description("d")], {"description": "d"}),
        (
            Annotated[str, ExternalDocs("https://x.example")],
            {"externalDocs": {"url": "https://x.example"}},
        ),
        (
            Annotated[str, ExternalDocs("https://x.example", "more")],
            {"externalDocs": {"url": "https://x.example", "description": "more"}},
        ),
        (Annotated[list[str], Items(1, 3)], {"minItems": 1, "maxItems": 3}),
        (Annotated[list[str], Items(unique=True)], {"x-kubernetes-list-type": "set"}),
        (Annotated[set[str], Items(max=3, unique=True)], {"maxItems": 3}),
        (Annotated[str, Length(1, 3)], {"minLength": 1, "maxLength": 3}),
        (Annotated[str, Length(max=3)], {"maxLength": 3}),
        (Annotated[dict[str, str], Properties(1, 2)], {"minProperties": 1, "maxProperties": 2}),
        (Annotated[int, MultipleOf(5)], {"multipleOf": 5}),
        (Annotated[str, Pattern("^a$")], {"pattern": "^a$"}),
        (Annotated[int, Range(1, 3)], {"minimum": 1, "maximum": 3}),
        (
            Annotated[float, Range(0, 1, exclusive_min=True, exclusive_max=True)],
            {"minimum": 0, "exclusiveMinimum": True, "maximum": 1, "exclusiveMaximum": True},
        ),
        (Annotated[int | None, Range(min=1)], {"nullable": True, "minimum": 1}),
        (Annotated[dict[str, Any], Embedded], {"x-kubernetes-embedded-resource": True}),
        (Annotated[Inner, PreserveUnknown], ANY),
        (Annotated[Inner, MapAtomic()], {"x-kubernetes-map-type": "atomic"}),
        (Annotated[dict[str, str], MapGranular()], {"x-kubernetes-map-type": "granular"}),
        (Annotated[list[str], ListAtomic()], {"x-kubernetes-list-type": "atomic"}),
        (Annotated[list[str], ListSet()], {"x-kubernetes-list-type": "set"}),
        (
            Annotated[list[Inner], ListMap("name", "weight")],
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "weight"]},
        ),
        (Annotated[str, Format("ipv4")], {"format": "ipv4"}),
        (Annotated[str, Nullable()], {"nullable": True}),
        (Annotated[str, Default("x")], {"default": "x"}),
        (
            Annotated[str, Rule("self != ''", "is empty", reason="FieldValueRequired")],
            {
                "x-kubernetes-validations": [
                    {"rule": "self != ''", "message": "is empty", "reason": "FieldValueRequired"}
                ]
            },
        ),
        (
            Annotated[str, Immutable()],
            {"x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}]},
        ),
        (
            Annotated[int, msgspec.Meta(ge=1, lt=5, description="d")],
            {"description": "d", "minimum": 1, "maximum": 5, "exclusiveMaximum": True},
        ),
        (
            Annotated[str, msgspec.Meta(min_length=1, pattern="^a")],
            {"minLength": 1, "pattern": "^a"},
        ),
        (Annotated[list[str], annotated_types.Len(1, 2)], {"minItems": 1, "maxItems": 2}),
        (Annotated[int, annotated_types.MultipleOf(2)], {"multipleOf": 2}),
    ],
    ids=lambda v: str(v).replace("typing.", "") if not isinstance(v, dict) else "",
)
def test_a_marker_adds_to_the_schema(hint: Any, adds: dict[str, Any]) -> None:
    bare = schema_of(hint.__origin__)

    assert schema_of(hint) == {**bare, **adds}


class Node(Struct):
    children: list[Node] = []


class Bounded(Struct):
    children: list[Annotated[Node, PreserveUnknown]] = []


T = TypeVar("T")


class Page(Struct, Generic[T]):
    items: list[T]


class Mixed(Enum):
    A = 1
    B = "b"


@dataclass
class Plain:
    x: int


def holder(hint: Any, **more: Any) -> type[Struct]:
    """A Struct whose field ``x`` has a type, two levels down."""

    class Deep(Struct):
        x: hint  # type: ignore[valid-type]

    Deep.__annotations__["x"] = hint

    class Spec(Struct):
        items: list[Deep] = []

    return Spec


@pytest.mark.parametrize(
    ("hint", "says"),
    [
        (
            int | str,
            "a union of int and str: a schema in a CRD has one type (IntOrString is int | str)",
        ),
        (int | list[str] | None, "a union of int and list"),
        (Inner | Tier, "a union of Inner and Tier"),
        (Node, "x.children[*]: Node contains itself"),
        (Decimal, "Decimal is no type that a CRD can express"),
        (Plain, "Plain is no type that a CRD can express"),
        (complex, "complex is no type"),
        (Callable[[], int], "is no type that a CRD can express"),
        (tuple[int, str], "a tuple with places of their own"),
        (dict[int, str], "keys of int"),
        (Mixed, "values of several types: 1, 'b'"),
        (Literal[1, "a"], "values of several types"),
        (set[Inner], "a set of what is no plain value"),
        (Page[int], "is no type that a CRD can express"),
        (Annotated[str, Range(1, 2)], "Range: is for an integer or a number, and this is a string"),
        (Annotated[int, Range()], "Range: says neither a least nor a most"),
        (Annotated[int, Range(3, 2)], "Range: nothing is between 3 and 2"),
        (
            Annotated[int, Range(min=2, exclusive_max=True)],
            "Range: is exclusive of a bound that it does not have",
        ),
        (
            Annotated[int, Range(2, 2, exclusive_max=True)],
            "Range: nothing is left of 2 without itself",
        ),
        (Annotated[int, Length(1)], "Length: is for a string, and this is an integer"),
        (Annotated[str, Length(-1)], "Length: -1 is below zero"),
        (Annotated[list[str], Length(1)], "Length: is for a string, and this is a list"),
        (Annotated[str, Items(1)], "Items: is for a list"),
        (
            Annotated[list[Inner], Items(unique=True)],
            "Items: unique: CRDs forbid uniqueItems, and a list-type set holds scalars only",
        ),
        (Annotated[list[Inner], ListSet()], "ListSet: holds scalars only"),
        (Annotated[list[str], ListMap("name")], "ListMap: is for a list of objects"),
        (
            Annotated[list[Inner], ListMap("nome")],
            "ListMap: the elements have no field 'nome', but name, weight",
        ),
        (Annotated[list[str], ListSet(), ListAtomic()], "ListAtomic: the list is set already"),
        (
            Annotated[dict[str, str], MapAtomic(), MapGranular()],
            "MapGranular: the object is atomic already",
        ),
        (Annotated[int, MultipleOf(0)], "MultipleOf: 0 is not above zero"),
        (Annotated[int, Pattern("a")], "Pattern: is for a string"),
        (Annotated[str, Pattern("(?=a)")], "Pattern: "),
        (Annotated[str, Pattern("[")], "Pattern: "),
        (Annotated[str, Format("zip")], "Format: Kubernetes knows no format 'zip' of strings"),
        (Annotated[str, Format("int32")], "Format: Kubernetes knows no format 'int32' of strings"),
        (
            Annotated[dict[str, str], PreserveUnknown],
            "PreserveUnknown: every key of this map is known",
        ),
        (Annotated[str, PreserveUnknown], "PreserveUnknown: is for an object"),
        (Annotated[dict[str, str], Embedded], "Embedded: a map of one type"),
        (
            Annotated[IntOrString, Range(1, 2)],
            "Range: is for an integer or a number, and this is an IntOrString",
        ),
        (Annotated[Any, Length(1)], "Length: is for a string, and this is a value of any type"),
        (Annotated[str, Pattern], "Pattern needs its arguments"),
        (Annotated[str, Default(Plain)], "Default: "),
        (Annotated[int, Ignore], "an ignored field needs a default"),
        (Annotated[int, Column("C")], "Column 'C': a column of many values needs a json_path"),
    ],
    ids=lambda v: str(v).replace("typing.", "")[:60],
)
def test_what_a_crd_cannot_express_is_refused_with_the_path(hint: Any, says: str) -> None:
    with pytest.raises(SchemaError) as error:
        schema_of(holder(hint), "spec")

    assert str(error.value).startswith("spec.items[*].x")
    assert says in str(error.value)


def test_a_type_that_contains_itself_may_end_in_anything() -> None:
    class Root(Struct):
        value: int = 0
        next: Annotated[Root | None, PreserveUnknown] = None

    assert schema_of(Root)["properties"]["next"] == {"type": "object", "nullable": True, **ANY}


class Documented(Struct):
    """A class
    of two lines."""

    plain: int = 0
    below: int = 0
    """The text
    below."""
    marked: Annotated[int, Description("The marker.")] = 0
    """The text below."""
    inner: Inner | None = None
    """Rather this than the class."""
    other: Inner | None = None


class Inherits(Documented):
    more: str | None = None


def test_descriptions_come_from_docstrings_unless_they_are_said() -> None:
    found = schema_of(Documented)

    texts = {name: p.get("description") for name, p in found["properties"].items()}
    assert found["description"] == "A class\nof two lines."
    assert texts == {
        "plain": None,
        "below": "The text\nbelow.",
        "marked": "The marker.",
        "inner": "Rather this than the class.",
        "other": "Inside.",
    }
    inherited = schema_of(Inherits)
    assert "description" not in inherited
    assert inherited["properties"]["below"]["description"] == "The text\nbelow."


def test_without_a_source_there_are_no_descriptions() -> None:
    space: dict[str, Any] = {"Struct": Struct, "__name__": "nowhere"}
    exec("class A(Struct):\n    x: int = 0\n    '''Lost.'''\n", space)

    assert schema_of(space["A"])["properties"]["x"] == {**INTEGER, "default": 0}


class Defaults(Struct):
    number: int = 0
    text: str = ""
    flag: bool = False
    tier: Tier = Tier.COLD
    none: str | None = None
    some: int | None = 3
    empty: list[str] = []
    filled: list[str] = ["a"]
    inner: Inner = Inner(name="x")
    time: timedelta = timedelta(minutes=1)
    data: bytes = b""
    made: list[int] = field(default_factory=lambda: [1])
    asked: Annotated[int, Required] = 4
    told: Annotated[int, Default(5)]
    nothing: str
    secret_ref: str | None
    hidden: Annotated[object, Ignore] = None


def test_defaults_are_those_of_python() -> None:
    found = schema_of(Defaults)

    defaults = {n: p["default"] for n, p in found["properties"].items() if "default" in p}
    assert defaults == {
        "number": 0,
        "text": "",
        "flag": False,
        "tier": "cold",
        "some": 3,
        "filled": ["a"],
        "inner": {"name": "x", "weight": 3},
        "time": "1m0s",
        "told": 5,
    }
    assert found["required"] == ["asked", "nothing", "secretRef"]
    assert "hidden" not in found["properties"]


class Sub(pydantic.BaseModel):
    name: str


class Model(pydantic.BaseModel):
    """A model."""

    size: int = pydantic.Field(1, ge=1, le=10, description="How many.")
    image_name: Annotated[str, Length(max=9)] = pydantic.Field(alias="imageName", pattern="^a")
    inner: Sub | None = None
    names: list[str] = pydantic.Field(default_factory=list, max_length=3)


def test_models_of_pydantic_have_schemas() -> None:
    assert schema_of(Model) == {
        "type": "object",
        "description": "A model.",
        "properties": {
            "size": {
                "description": "How many.",
                **INTEGER,
                "default": 1,
                "minimum": 1,
                "maximum": 10,
            },
            "imageName": {"type": "string", "maxLength": 9, "pattern": "^a"},
            "inner": {
                "type": "object",
                "nullable": True,
                "properties": {"name": STRING},
                "required": ["name"],
            },
            "names": {"type": "array", "items": STRING, "maxItems": 3},
        },
        "required": ["imageName"],
    }


def test_metadata_of_templates_says_what_templates_say() -> None:
    found = schema_of(ObjectMeta, "spec.template.metadata")

    assert list(found["properties"]) == [
        "name",
        "generateName",
        "namespace",
        "labels",
        "annotations",
        "finalizers",
    ]


def test_a_class_can_be_marked_itself() -> None:
    @mark(Rule("self.low <= self.high", "low is above high"), MapAtomic())
    class Bounds(Struct):
        low: int
        high: int

    found = schema_of(Bounds)

    assert found["x-kubernetes-map-type"] == "atomic"
    assert found["x-kubernetes-validations"][0]["rule"] == "self.low <= self.high"


def of(spec: Any, **settings: Any) -> type[Entity]:
    """An entity with a spec."""

    class Thing(Entity):
        spec: Any
        status: Status = Status()

    Thing.__annotations__["spec"] = spec
    return entity("example.com/v1", **settings)(Thing)


class Status(Struct):
    ready: int = 0
    selector: str = ""


def spec(**hints: Any) -> type[Struct]:
    """A Struct with fields of these types; (type, default) where there is a default."""
    space = {k: v[1] for k, v in hints.items() if isinstance(v, tuple)}
    annotations = {k: v[0] if isinstance(v, tuple) else v for k, v in hints.items()}
    return type(Struct)(
        "Spec", (Struct,), {"__annotations__": annotations, "__module__": __name__, **space}
    )


@pytest.mark.parametrize(
    ("hints", "path", "says"),
    [
        ({"size": Annotated[int, Rule("self > 'a'")]}, "spec.size", "compilation failed"),
        ({"size": Annotated[int, Rule("self.x")]}, "spec.size", "validations[0].rule"),
        ({"size": Annotated[int, Rule("1")]}, "spec.size", "must evaluate to a bool"),
        ({"size": (Annotated[int, Range(2, 5)], 1)}, "spec.size", "default: Invalid value: 1"),
        ({"name": (Annotated[str, Pattern("^a")], "b")}, "spec.name", "default: Invalid value"),
        ({"name": (Literal["a"], "b")}, "spec.name", "default"),
        ({"name": (Annotated[str, Default(1)], "b")}, "spec.name", "default: Invalid value"),
        (
            {"size": Annotated[int, Rule("self > 1", message_expression="1")]},
            "spec.size",
            "must evaluate to a string",
        ),
        (
            {"size": Annotated[int, Rule("self > 1", field_path=".x")]},
            "spec.size",
            "must be a valid path",
        ),
        (
            {"size": Annotated[int, Rule("self > 1", optional_old_self=True)]},
            "spec.size",
            "optionalOldSelf",
        ),
        ({"tags": list[Annotated[str, Immutable()]]}, "spec.tags[*]", "oldSelf cannot be used"),
        (
            {"tags": list[Annotated[str, Rule("self.matches('^a*$')")]]},
            "spec.tags[*]",
            "exceeds budget",
        ),
    ],
    ids=lambda v: str(v)[:40],
)
def test_what_the_api_server_would_refuse_is_refused_with_the_path(
    hints: dict[str, Any], path: str, says: str
) -> None:
    with pytest.raises(SchemaError) as error:
        crd(of(spec(**hints)))

    assert error.value.path == path
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"scale": ("spec.sise", "status.ready")}, "spec.sise: scale: Thing has no such field"),
        ({"scale": ("spec.name", "status.ready")}, "spec.name: scale: is no integer"),
        (
            {"scale": ("spec.size", "status.ready", "status.ready")},
            "status.ready: scale: is no string",
        ),
        ({"scale": ("status.ready", "status.ready")}, "should be a json path under .spec"),
        ({"selectable": ["spec.none"]}, "does not refer to a valid field"),
        ({"selectable": ["spec.tags"]}, "must point to a field of type string, boolean or integer"),
        ({"selectable": ["metadata.name"]}, "metadata"),
        ({"columns": [Column("A")]}, "column 'A': says no json_path"),
        ({"columns": [Column("A", ".spec.size", format="zip")]}, "must be one of"),
    ],
)
def test_settings_that_fit_no_field_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SchemaError, match=re.escape(says)):
        crd(of(spec(size=int, name=str, tags=list[str]), **settings))


def test_extras_of_a_definition() -> None:
    found = crd(
        of(
            spec(
                size=Annotated[int, Column("Size", priority=1), Description("How many.")],
                born=Annotated[datetime | None, Column("Born")],
                hidden=(Annotated[int, Ignore], 0),
                owner=EmbeddedResource,
                items=Annotated[list[str], Column("First", ".spec.items[0]", "string")],
            ),
            kind="Box",
            short_names=["bx"],
            categories=["all"],
            scope="Cluster",
            selectable=["spec.size"],
            scale=("spec.size", "status.ready", "status.selector"),
            columns=[Column("Age", ".metadata.creationTimestamp", "date")],
            deprecated="use boxes v2",
        )
    )

    (version,) = found["spec"]["versions"]
    assert found["metadata"] == {"name": "boxes.example.com"}
    assert found["spec"]["scope"] == "Cluster"
    assert found["spec"]["names"] == {
        "kind": "Box",
        "listKind": "BoxList",
        "plural": "boxes",
        "singular": "box",
        "shortNames": ["bx"],
        "categories": ["all"],
    }
    assert version["subresources"] == {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.size",
            "statusReplicasPath": ".status.ready",
            "labelSelectorPath": ".status.selector",
        },
    }
    assert version["selectableFields"] == [{"jsonPath": ".spec.size"}]
    assert version["additionalPrinterColumns"] == [
        {
            "name": "Size",
            "type": "integer",
            "jsonPath": ".spec.size",
            "priority": 1,
            "description": "How many.",
        },
        {"name": "Born", "type": "date", "jsonPath": ".spec.born"},
        {"name": "First", "type": "string", "jsonPath": ".spec.items[0]"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    assert (version["deprecated"], version["deprecationWarning"]) == (True, "use boxes v2")
    assert "hidden" not in version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]


times = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
ascii_words = st.text("abcxyz-./ ", max_size=5)
cache_specs = st.builds(
    CacheSpec,
    image=ascii_words,
    size=st.integers(-(2**63), 2**63 - 1),
    eviction=st.sampled_from(["lru", "lfu"]),
    tier=st.sampled_from(Tier),
    ratio=st.floats(allow_nan=False, allow_infinity=False),
    secret_ref=st.none() | st.text(max_size=3),
    ports=st.lists(
        st.builds(Port, name=ascii_words, number=st.integers(0, 9)), unique_by=lambda p: p.name
    ),
    zones=st.sets(ascii_words, max_size=3),
    labels=st.dictionaries(ascii_words, st.text(max_size=3), max_size=3),
    memory=st.integers(0, 2**31) | st.sampled_from(["1Gi", "500m"]),
    target=st.integers(0, 9) | ascii_words,
    timeout=st.timedeltas(timedelta(0), timedelta(days=900)),
    born=st.none() | st.dates(date(1000, 1, 1)),
    seen=st.none() | times,
    token=st.binary(max_size=5),
    extra=st.dictionaries(ascii_words, st.none() | st.integers(0, 5) | st.lists(st.booleans())),
)
SCHEMA = parse(schema_of(CacheSpec))


@given(cache_specs)
def test_what_is_written_fits_the_schema(spec: CacheSpec) -> None:
    """And is read as what it was; nothing of it is pruned or filled in."""
    doc = to_document(spec)

    assert validate_value(SCHEMA, doc) + validate_lists(SCHEMA, doc) == []
    assert from_document(CacheSpec, doc) == spec
    kept, dropped = normalize(SCHEMA, copy.deepcopy(doc))
    assert (kept, dropped) == (doc, False)


def test_conditions_are_a_list_map() -> None:
    found = schema_of(Annotated[list[Condition], ListMap("type")])

    assert found["items"]["properties"]["status"]["enum"] == ["True", "False", "Unknown"]
    assert found["x-kubernetes-list-map-keys"] == ["type"]


def test_names_that_are_nowhere_are_told_with_the_path() -> None:
    class Lost(Struct):
        x: Nowhere  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(EntityError, match=r"spec: .*Lost\.x: name 'Nowhere' is not defined"):
        schema_of(Lost, "spec")
