"""The tables beside this package that are read when first needed, once."""

from __future__ import annotations

import json
import pkgutil
from functools import cache
from typing import Any

__all__ = ["load"]


@cache
def load(name: str) -> Any:
    """A JSON file of this package; the caller must not change it."""
    data = pkgutil.get_data("cove.kube.kinds", name)
    if data is None:
        raise FileNotFoundError(name)
    return json.loads(data)
