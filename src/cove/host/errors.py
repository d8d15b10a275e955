"""What goes wrong with an application, by what its author would do about it."""

from __future__ import annotations

from cove.kube.status import CoveError

__all__ = ["AppError", "InvalidNameError", "ResourceError"]


class AppError(CoveError):
    """The declaration itself is wrong: names, options, the graph.  Nothing was started."""


class InvalidNameError(AppError):
    """A name that was given is blank, wrong or taken."""


class ResourceError(CoveError):
    """A resource could not be started, or ended as it should not; the text is its reason."""
