"""cove: a Kubernetes you carry with you."""

from cove._version import __version__

__all__ = ["__version__"]
