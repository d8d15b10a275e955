"""The 500s that upstream answers, too: errors without an API status of their own.

ErrorToAPIStatus (k8s.io/apiserver, pkg/endpoints/handlers/responsewriters/status.go) tells them as
500 without a reason.  They come from

- strategic merge patches.  interpretStrategicMergePatchError (apiserver,
  pkg/endpoints/handlers/patch.go) makes 400 or 422 of the seven errors that it knows and hands on
  the rest: ErrBadPatchType ("unknown patch type"), ErrBadArgType ("expected a …, but received a …"),
  ErrNoMergeKey (k8s.io/apimachinery, pkg/util/mergepatch/errors.go), "unable to find api field …"
  (pkg/util/strategicpatch/meta.go), and of pkg/util/strategicpatch/patch.go "The order in patch
  list … doesn't match $setElementOrder list" and sliceElementType's: elements of several types,
  and "no elements in any of the given slices" where ``$setElementOrder`` meets two empty lists;
- applies: "failed to create typed …" of the field manager (apimachinery,
  pkg/util/managedfields/internal/structuredmerge.go), for what does not fit the schema;
- a number as the resourceVersion of what is created: Create (apiserver, pkg/storage/etcd3/store.go)
  returns ErrResourceVersionSetOnCreate, and InterpretCreateError hands on what it does not know;
- a resourceVersion to get or watch at that is no number: ParseResourceVersion (apiserver,
  pkg/storage/api_object_versioner.go), of which only lists make a 400.
"""

from __future__ import annotations

__all__ = ["UPSTREAM"]

# Words of their messages.
UPSTREAM = (
    "failed to create typed patch object",
    "failed to create typed live object",
    "list element types are not identical",
    "does not contain declared merge key",
    "strconv.",
    "unknown patch type",
    "unable to find api field in struct",
    "expected a []interface {}, but received a",
    "expected a map[string]interface {}, but received a",
    "doesn't match $setElementOrder list",
    "no elements in any of the given slices",
    "resourceVersion should not be set on objects to be created",
)
