"""What an update of a CRD may keep although a new CRD may not have it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cove.kube.kinds._kind import Obj
from cove.kube.kinds.apiextensions._bundle import bundle_fault
from cove.kube.kinds.apiextensions._warnings import every_schema, schemas_of
from cove.kube.structural import normalize, parse, same, validate_structural

__all__ = ["TYPES", "Options", "is_non_atomic_set", "key_faults"]

TYPES = ("array", "boolean", "integer", "number", "object", "string")

Document = Mapping[str, Any]


class Options:
    """How strict validation is: what was there before is let pass.

    ``version`` names the version whose schema is being judged (state of one validation).
    """

    __slots__ = (
        "check_bundle",
        "given_versions",
        "immutable_names",
        "many_selectable",
        "require_atomic_sets",
        "require_map_keys",
        "require_pruned_defaults",
        "require_review_version",
        "require_schema",
        "require_structural",
        "require_types",
        "unchanged",
        "version",
    )

    def __init__(self) -> None:
        # Whether the authority of a conversion webhook has to be one: once a CRD is
        # established, unless it was none before.
        self.check_bundle = False
        self.given_versions = True
        self.immutable_names = False
        self.many_selectable: frozenset[str] = frozenset()
        self.require_atomic_sets = True
        self.require_map_keys = True
        self.require_pruned_defaults = True
        self.require_review_version = True
        self.require_schema = True
        self.require_structural = True
        self.require_types = True
        # Versions whose schema an update leaves alone: the cost of their rules is not judged.
        self.unchanged: frozenset[str] = frozenset()
        self.version = ""

    @property
    def judge_cost(self) -> bool:
        """Whether the cost of a single rule is judged."""
        return self.version not in self.unchanged

    @classmethod
    def of(cls, obj: Obj, old: Obj | None) -> Options:
        """The options for a new CRD, or for an update of ``old``."""
        options = cls()
        options.given_versions = obj["spec"].get("versions") is not None
        if old is None:
            return options
        before = old["spec"]
        conditions = (old.get("status") or {}).get("conditions") or ()
        options.immutable_names = any(
            c.get("type") == "Established" and c.get("status") == "True" for c in conditions
        )
        client = ((before.get("conversion") or {}).get("webhook") or {}).get("clientConfig") or {}
        options.check_bundle = options.immutable_names and not bundle_fault(client.get("caBundle"))
        reviews = ((before.get("conversion") or {}).get("webhook") or {}).get(
            "conversionReviewVersions"
        )
        options.require_review_version = not reviews or bool({"v1", "v1beta1"} & set(reviews))
        options.require_schema = all(
            (v.get("schema") or {}).get("openAPIV3Schema") is not None
            for v in before.get("versions") or ()
        )
        options.require_types = not _any(before, _has_bad_type)
        options.require_atomic_sets = not _any(before, is_non_atomic_set)
        options.require_map_keys = not _any(before, lambda s: bool(key_faults(s)))
        roots = list(schemas_of(before))
        preserved = obj["spec"].get("preserveUnknownFields")
        options.require_structural = not preserved or not any(
            validate_structural(root, "") for root in roots
        )
        options.require_pruned_defaults = not any(_has_unpruned_default(r) for r in roots)
        was = {v.get("name"): v for v in before.get("versions") or ()}
        now = {v.get("name"): v for v in obj["spec"].get("versions") or ()}
        options.unchanged = frozenset(
            name
            for name, version in now.items()
            if name in was and same(version.get("schema"), was[name].get("schema"))
        )
        options.many_selectable = frozenset(
            name
            for name, version in now.items()
            if name in was
            and len(was[name].get("selectableFields") or ()) > 8
            and same(version.get("selectableFields"), was[name].get("selectableFields"))
        )
        return options


def _any(spec: Document, predicate: Callable[[Document], bool]) -> bool:
    return any(predicate(inner) for root in schemas_of(spec) for inner in every_schema(root))


def _has_bad_type(schema: Document) -> bool:
    kind = schema.get("type")
    return bool(kind) and kind not in TYPES


def is_non_atomic_set(schema: Document) -> bool:
    """A set whose elements could be merged: those have no identity."""
    items = schema.get("items")
    if schema.get("x-kubernetes-list-type") != "set" or not isinstance(items, Mapping):
        return False
    if items.get("type") == "array":
        return items.get("x-kubernetes-list-type") not in (None, "atomic")
    return items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic"


def key_faults(schema: Document) -> list[tuple[str, str, bool]]:
    """(path below the schema, why, whether something is missing) for the items of sets and maps."""
    items = schema.get("items")
    kind = schema.get("x-kubernetes-list-type")
    if not isinstance(items, Mapping) or kind not in ("set", "map"):
        return []
    out = []
    if items.get("nullable"):
        why = f"cannot be nullable when x-kubernetes-list-type is {kind}"
        out.append(("items.nullable", why, False))
    if kind == "set":
        return out
    required = set(items.get("required") or ())
    for key in schema.get("x-kubernetes-list-map-keys") or ():
        prop = (items.get("properties") or {}).get(key)
        if prop is None:
            continue
        place = f"items.properties[{key}]"
        if key not in required and prop.get("default") is None:
            why = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a "
                "required property"
            )
            out.append((f"{place}.default", why, True))
        if prop.get("nullable"):
            why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
            out.append((f"{place}.nullable", why, False))
    return out


def _has_unpruned_default(root: Document) -> bool:
    for inner in every_schema(root):
        default = inner.get("default")
        if isinstance(default, dict) and normalize(parse(inner), default)[1]:
            return True
    return False
