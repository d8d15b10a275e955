"""CEL over structural schemas: validation rules of custom resources.

    context = SchemaContext.root(schema)       # when a CRD is written
    context.check({"rule": "self.replicas <= self.max"})
    rules(schema, root=True).validate(obj, old)  # when a custom resource is

The library behind it is loaded with the first expression.
"""

from __future__ import annotations

from cove.kube.cel._check import Checked, SchemaContext
from cove.kube.cel._rules import Rules, rules
from cove.kube.cel._types import escape, unescape

__all__ = ["Checked", "Rules", "SchemaContext", "escape", "rules", "unescape"]
