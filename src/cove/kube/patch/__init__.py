"""The three patches that are not apply: JSON patch, merge patch, strategic merge patch.

Each function takes a document and a patch and returns a new document; neither
argument is changed, and what the patch does not touch is shared with the old
document, not copied.  A patch that cannot be applied raises :class:`PatchError`,
which is already the Status to answer.
"""

from cove.kube.patch._errors import PatchError, go_format
from cove.kube.patch._json_patch import json_patch
from cove.kube.patch._merge_patch import merge_patch
from cove.kube.patch._strategic import strategic_merge_patch

__all__ = ["PatchError", "go_format", "json_patch", "merge_patch", "strategic_merge_patch"]
