"""Kind: what the API server does for one built-in kind beyond its schema.

The counterpart of upstream's registry strategies (``pkg/registry/*/strategy.go``),
defaulting (``pkg/apis/*/defaults.go``), validation (``pkg/apis/*/validation``) and
printers (``pkg/printers/internalversion``), as pure functions on documents.  One
subclass per kind that differs from the base, one instance per kind; the server
finds it with :func:`cove.kube.kinds.kind`.

Documents are JSON trees (dict, list, str, int, float, bool, None) that the codec
has already decoded against the schema: types are right, unknown fields are gone,
quantities are canonical.  Methods that change a document do so in place.  A new
document may come to share subtrees with the old one: neither is changed afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from cove.kube.field_errors import FieldError
from cove.kube.names import is_dns1123_subdomain

__all__ = ["Column", "Kind", "Obj"]

Obj = dict[str, Any]


class Column(NamedTuple):
    """A column of a Table: what ``kubectl get`` shows; ``priority`` above 0 means ``-o wide``."""

    name: str
    type: str
    format: str
    description: str
    priority: int = 0


class Kind:
    """The defaults: a namespaced object with metadata only, nothing special."""

    group: str = ""
    kind: str = ""
    # The version of the kind that is stored: "autoscaling/v2"; "" means the one it is asked in.
    storage_version: str = ""
    # metadata.generation starts at 1 and moves with what `generation_changed` sees.
    generation: bool = False
    # The status subresource exists: status is dropped on create and kept on update.
    status: bool = False
    # A status that says nothing, as Go encodes it; None where the field is left out then.
    empty_status: Mapping[str, Any] | None = None
    # Metadata maps that a write to the status subresource may not change.
    status_keeps: Sequence[str] = ()
    # PUT creates the object when it is missing (Lease, Event, Endpoints, Role, Service …).
    allow_create_on_update: bool = False
    # An update without a resourceVersion is taken as it is.
    allow_unconditional_update: bool = True
    # Deletion waits for metadata.deletionGracePeriodSeconds (Pods).
    graceful: bool = False
    # A deletion notes metadata.deletionGracePeriodSeconds (all but Namespaces).
    tells_grace: bool = True
    # A deletion answers with the object instead of a Status (Pods, Namespaces …).
    returns_deleted: bool = False
    # What a deletion that says nothing about dependents does with them: "Background" or "Orphan".
    default_policy: str = "Background"

    # The group that field errors name; None: the group the object was written in.
    told_group: str | None = None
    # Annotations that only the versioned form has: Tables and PartialObjectMetadata lack them.
    versioned_annotations: Sequence[str] = ()

    # Field selectors beyond metadata.name and metadata.namespace: label → value of the object.
    selectable: Mapping[str, Callable[[Obj], str]] = {}

    @property
    def columns(self) -> Sequence[Column]:
        """The columns of the kind's Table; Name and Created At where it has no printer."""
        from cove.kube.kinds._table import columns

        return columns(self.group, self.kind)

    @property
    def has_printer(self) -> bool:
        """Whether the kind has columns of its own; Tables of the others have null for no rows."""
        from cove.kube.kinds._table import has_columns

        return has_columns(self.group, self.kind)

    def index_fields(self, obj: Obj) -> Mapping[str, str]:
        """Every value a field selector may ask of the object, in any group that shows it."""
        return {label: value(obj) for label, value in self.selectable.items()}

    def default(self, obj: Obj) -> None:
        """Fill in what a client may leave out (versioned defaulting)."""

    def generation_changed(self, obj: Obj, old: Obj) -> bool:
        """Whether an update asks for something else than before."""
        return bool(obj.get("spec") != old.get("spec"))

    def prepare_create(self, obj: Obj) -> None:
        """Before validation of a create: reset what a client may not set."""
        if self.generation:
            obj.setdefault("metadata", {})["generation"] = 1
        if self.status:
            self.reset_status(obj)

    def reset_status(self, obj: Obj) -> None:
        """Put the status that says nothing in place of the one given."""
        if self.empty_status is None:
            obj.pop("status", None)
        else:
            obj["status"] = {**self.empty_status}

    def prepare_update(self, obj: Obj, old: Obj) -> None:
        """Before validation of an update: carry over what it may not change; bump generation."""
        if self.status:
            keep(obj, old, "status")
        meta = obj["metadata"]
        before = old["metadata"].get("generation", 0)
        if self.generation and self.generation_changed(obj, old):
            meta["generation"] = before + 1
        elif before:
            meta["generation"] = before
        else:
            meta.pop("generation", None)

    def prepare_status(self, obj: Obj, old: Obj) -> None:
        """Before validation of a write to the status subresource: keep all but the status."""
        for key in old.keys() | obj.keys():
            if key not in ("apiVersion", "kind", "metadata", "status"):
                keep(obj, old, key)
        keep(obj["metadata"], old["metadata"], "generation")
        for key in self.status_keeps:
            keep(obj["metadata"], old["metadata"], key)

    def validate_name(self, name: str) -> list[str]:
        """What is wrong with metadata.name; empty: nothing."""
        return is_dns1123_subdomain(name)

    def validate_create(self, obj: Obj) -> list[FieldError]:
        """What is wrong with a new object, metadata excepted."""
        return []

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        """What is wrong with an updated object, metadata excepted."""
        return []

    def validate_patch(self, obj: Obj, old: Obj) -> list[FieldError]:
        """What is wrong with an object that a JSON, merge or strategic patch updated."""
        return self.validate_update(obj, old)

    def validate_status(self, obj: Obj, old: Obj) -> list[FieldError]:
        """What is wrong with a new status."""
        return []

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        """Texts for Warning headers; ``old`` is None on create."""
        return []

    def reset_fields(self, subresource: str) -> Sequence[str]:
        """Paths that a write to ``subresource`` ("" is the object itself) never owns: ``status``.

        Source: rest.ResetFieldsStrategy.
        """
        if not self.status:
            return ()
        return ("spec",) if subresource == "status" else ("status",)

    def requested_by(self, obj: Obj, user: Mapping[str, Any]) -> None:
        """Note on a new object who asked for it; ``user`` is a UserInfo document (CSRs)."""

    def may_end(self, obj: Obj) -> bool:
        """Whether a deleted object without finalizers is gone; Namespaces have others (spec)."""
        return True

    def marks_deletion(self, obj: Obj) -> bool:
        """Whether a deletion only marks the object although nothing else holds it (Namespaces)."""
        return False

    def grace_period(self, obj: Obj, asked: int | None) -> int:
        """Seconds between deletion and end, for ``graceful`` kinds; ``asked`` None: the default."""
        return asked or 0

    def marked_for_deletion(self, obj: Obj, now: str) -> None:
        """What else changes when deletionTimestamp is set (a Namespace's phase)."""

    def unknown_field_label(self, label: str) -> str:
        """The text that refuses a field selector on ``label``."""
        if self.selectable:
            return f"field label not supported: {label}"
        return (
            f'"{label}" is not a known field selector: only "metadata.name", "metadata.namespace"'
        )

    def convert(self, obj: Obj, api_version: str) -> Obj:
        """The object in another version of the kind; may share parts with ``obj``."""
        return {**obj, "apiVersion": api_version}

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        """The cells of the object's row, one per column (wide ones too)."""
        meta = obj["metadata"]
        return [meta.get("name", ""), meta.get("creationTimestamp")]

    def row_conditions(self, obj: Obj) -> list[Obj]:
        """What a row says about the object as a whole: completed pods; usually nothing."""
        return []


def keep_metadata(obj: Obj, old: Obj) -> None:
    """Put the old metadata back, but for the resourceVersion and managedFields."""
    meta = obj["metadata"]
    for key in meta.keys() | old["metadata"].keys():
        if key not in ("resourceVersion", "managedFields"):
            keep(meta, old["metadata"], key)


def keep(obj: Obj, old: Obj, key: str) -> None:
    """Put the old value of a key back, its absence included."""
    if key in old:
        obj[key] = old[key]
    else:
        obj.pop(key, None)
