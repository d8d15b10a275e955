"""Files made of an operator: what it takes to install it, to run it in a cluster, to ship it.

Generators are functions of (operator, options) and contact nobody; the same operator gives the
same files.
"""

from __future__ import annotations

from cove.operator.generate.files import File, Format, Written, render, text_of, write
from cove.operator.generate.generators import GENERATORS, generate
from cove.operator.generate.options import Options
from cove.operator.generate.project import Project, ProjectError

__all__ = [
    "GENERATORS",
    "File",
    "Format",
    "Options",
    "Project",
    "ProjectError",
    "Written",
    "generate",
    "render",
    "text_of",
    "write",
]
