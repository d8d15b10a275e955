"""Admission: what may change or refuse a write after it is authorized and decoded.

Plugins run in upstream's order, the changing half before the refusing half.  Which are
on is decided when the cluster is made: upstream's defaults, plus and minus the names of
``--enable-admission`` and ``--disable-admission``.

Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
"""

from cove.server.admission._chain import Admission, Attributes, Plugin
from cove.server.admission._plugins import DEFAULT, KNOWN, UnknownPluginError, build

__all__ = [
    "DEFAULT",
    "KNOWN",
    "Admission",
    "Attributes",
    "Plugin",
    "UnknownPluginError",
    "build",
]
