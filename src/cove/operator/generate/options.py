"""Options: what generators are told besides the operator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cove.operator.settings import Leadership, Settings

if TYPE_CHECKING:
    from cove.operator.operator import Operator

__all__ = ["Options"]

PYTHON = "3.13.5-slim-bookworm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How an operator is packaged; "" are defaults made of its name.

    ``module`` is what a pod runs (``shop_operator:op``), ``image`` its image, ``prefix`` comes
    before the names of what the installer installs.  More than one of ``replicas`` elect a
    leader.  ``python`` is the tag of the image that the Dockerfile begins with.
    """

    module: str = ""
    namespace: str = ""
    image: str = ""
    prefix: str = ""
    replicas: int = 1
    python: str = PYTHON

    def complete(self, operator: Operator) -> Options:
        """With the defaults of an operator."""
        return replace(
            self,
            module=self.module or f"{operator.name.replace('-', '_')}:op",
            namespace=self.namespace or f"{operator.name}-system",
            image=self.image or f"{operator.name}:latest",
        )

    def settings(self, operator: Operator) -> Settings:
        """How it runs with so many replicas."""
        given = operator.settings
        if self.elects(operator) and given.leadership is None:
            return replace(given, leadership=Leadership())
        return given

    def elects(self, operator: Operator) -> bool:
        """Whether its pods elect a leader because there are several."""
        return self.replicas > 1 and operator.settings.shards <= 1
