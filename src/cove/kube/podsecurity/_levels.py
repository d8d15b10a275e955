"""What the labels of a namespace ask for: a level at a version, for each of three modes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError

__all__ = ["PREFIX", "LevelVersion", "Policy", "policy", "stricter"]

PREFIX = "pod-security.kubernetes.io/"
LEVELS = ("privileged", "baseline", "restricted")
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]*)")


class LevelVersion(NamedTuple):
    """A level at a minor version; None is the latest there is."""

    level: str
    version: int | None

    def __str__(self) -> str:
        return f"{self.level}:{'latest' if self.version is None else f'v1.{self.version}'}"


PRIVILEGED = LevelVersion("privileged", None)


class Policy(NamedTuple):
    """What holds in a namespace: what is refused, what is audited, what is warned of."""

    enforce: LevelVersion = PRIVILEGED
    audit: LevelVersion = PRIVILEGED
    warn: LevelVersion = PRIVILEGED

    @property
    def privileged(self) -> bool:
        """Whether nothing is forbidden in any mode."""
        return self.enforce.level == self.audit.level == self.warn.level == "privileged"


def stricter(level: str, than: str) -> bool:
    """Whether a level forbids more than another."""
    return LEVELS.index(level) > LEVELS.index(than)


def policy(labels: Mapping[str, str] | None) -> tuple[Policy, list[FieldError]]:
    """The policy of a namespace with these labels, and what is wrong with them.

    A wrong level enforces "restricted" and warns of nothing; a wrong version is the
    latest.  Where only enforcement is labelled, what it forbids is warned of as well.
    """
    if not labels:
        return Policy(), []
    errors: list[FieldError] = []
    modes: dict[str, LevelVersion] = {}
    for mode in ("enforce", "audit", "warn"):
        level, version = "privileged", None
        if (given := labels.get(PREFIX + mode)) is not None:
            level = given
            if given not in LEVELS:
                level = "restricted" if mode == "enforce" else "privileged"
                errors.append(_invalid(mode, given, f"must be one of {', '.join(LEVELS)}"))
        if (given := labels.get(f"{PREFIX}{mode}-version")) is not None and given != "latest":
            match = _VERSION.fullmatch(given)
            if match is None:
                errors.append(_invalid(f"{mode}-version", given, 'must be "latest" or "v1.x"'))
            else:
                version = int(match[1])
        modes[mode] = LevelVersion(level, version)
    enforce, warn = modes["enforce"], modes["warn"]
    if (
        PREFIX + "warn" not in labels
        and labels.get(PREFIX + "enforce") in LEVELS
        and stricter(enforce.level, warn.level)
    ):
        version = warn.version if f"{PREFIX}warn-version" in labels else enforce.version
        modes["warn"] = LevelVersion(enforce.level, version)
    return Policy(**modes), errors


def _invalid(name: str, value: str, why: str) -> FieldError:
    return fe.invalid(f"metadata.labels[{PREFIX}{name}]", value, why)
