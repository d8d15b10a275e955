"""PyYAML writes recorded values as the plain ones: its dumpers are told of these types alone."""

from __future__ import annotations

from typing import Any

import yaml

__all__ = ["register"]

_DUMPERS = (
    "SafeRepresenter",
    "Representer",
    "SafeDumper",
    "Dumper",
    "CSafeDumper",
    "CDumper",
    "BaseDumper",
)


def register(*types: type) -> None:
    """Have every dumper represent these types by what ``unwrap`` gives."""

    def represent(dumper: Any, value: Any) -> Any:
        return dumper.represent_data(value.unwrap())

    for name in _DUMPERS:
        # Libyaml's are missing where PyYAML was built without it.
        dumper = getattr(yaml, name, None) or getattr(yaml.representer, name, None)
        if dumper is not None:
            for cls in types:
                dumper.add_representer(cls, represent)
