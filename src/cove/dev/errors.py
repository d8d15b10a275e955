"""What goes wrong in the inner loop, by what a person would do about it."""

from __future__ import annotations

from cove.kube.status import CoveError

__all__ = [
    "BuildError",
    "ConfigurationError",
    "DeployError",
    "DevError",
    "DevRunsError",
    "PushError",
    "SyncRefusedError",
]


class DevError(CoveError):
    """Something of the loop cannot be done; the text says what, why and what to do."""


class ConfigurationError(DevError):
    """What declares the loop is wrong: a file, with the line, or an option.  Nothing started."""


class BuildError(DevError):
    """An image could not be built; the text ends with the builder's last lines."""


class PushError(DevError):
    """An image was built, and the registry (or the nodes) did not take it."""


class DeployError(DevError):
    """What was deployed is not ready, or could not be deployed."""


class SyncRefusedError(DevError):
    """Files cannot be copied into a container; its image has to be built anew."""


class DevRunsError(DevError):
    """Another process is at work on the same thing."""
