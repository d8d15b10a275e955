"""Templates of values: ``{{.IMAGE_TAG_name}}`` and the like, as Skaffold has them.  Pure.

Source: https://skaffold.dev/docs/deployers/helm/ (setValueTemplates)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cove.dev.errors import ConfigurationError
from cove.host.images import Built

__all__ = ["render", "with_environment"]

_KINDS = ("FULLY_QUALIFIED", "REPO_NO_DOMAIN", "REPO", "DOMAIN", "TAG", "DIGEST", "NAME")
_ALL = re.compile(r"\{\{-?\s*\.IMAGE_(" + "|".join(_KINDS) + r")(?:_([A-Za-z0-9_]+))?\s*-?\}\}")


def render(template: str, built: Mapping[str, Built]) -> str:
    """A text with ``{{.IMAGE_TAG_name}}`` and the like filled in.

    The name has ``_`` for what is neither letter nor digit; it may be left out where there is
    one image.  Raises ConfigurationError for what cannot be filled in.
    """
    known = {re.sub(r"[^A-Za-z0-9]", "_", name): each for name, each in built.items()}

    def fill(found: re.Match[str]) -> str:
        kind, name = found[1], found[2]
        if name is None and len(known) == 1:
            each = next(iter(known.values()))
        elif name in known:
            each = known[name]
        else:
            raise ConfigurationError(
                f"{template}: there is no image {name or ''} (there are {', '.join(known)})"
            )
        domain, _, path = each.repository.partition("/")
        return {
            "FULLY_QUALIFIED": each.reference,
            "REPO": each.repository,
            "REPO_NO_DOMAIN": path,
            "DOMAIN": domain,
            "TAG": each.tag_and_digest,
            "DIGEST": each.digest,
            "NAME": each.artifact,
        }[kind]

    text = _ALL.sub(fill, template)
    if "{{" in text:
        raise ConfigurationError(
            f"{template}: only {{{{.IMAGE_REPO_name}}}}, IMAGE_TAG, IMAGE_DIGEST, IMAGE_DOMAIN, "
            "IMAGE_NAME, IMAGE_REPO_NO_DOMAIN and IMAGE_FULLY_QUALIFIED can be filled in"
        )
    return text


_VARIABLE = re.compile(r"\{\{-?\s*\.([A-Za-z_][A-Za-z0-9_]*)\s*-?\}\}")


def with_environment(text: Any, environ: Mapping[str, str], *, keep: str = "") -> Any:
    """A text with ``{{.HOME}}`` and the like filled in; what is no text is given back.

    Names that begin with ``keep`` are left for later.  Raises ConfigurationError for a
    variable that is not set.
    """
    if not isinstance(text, str):
        return text

    def fill(found: re.Match[str]) -> str:
        name = found[1]
        if keep and name.startswith(keep):
            return found[0]
        if name not in environ:
            raise ConfigurationError(f"{text}: the environment has no {name}")
        return environ[name]

    return _VARIABLE.sub(fill, text)
