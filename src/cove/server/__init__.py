"""The API server: requests in, Kubernetes' answers out, over one small store.

``make_api`` puts the rooms together; :class:`HttpServer` serves the result.  Nothing in
here knows of controllers or nodes: they are clients.
"""

from __future__ import annotations

from cove.server.admission import build
from cove.server.api import Api, Config
from cove.server.custom import CRDS, CustomResources
from cove.server.flowcontrol import LEVELS, SCHEMAS
from cove.server.hooks.crds import CrdHook, InstanceHook
from cove.server.hooks.flowschemas import FlowSchemaHook, PriorityLevelHook
from cove.server.hooks.services import ServiceHook
from cove.server.identity import Identity, TokenKeys
from cove.server.metrics import answer as metrics
from cove.server.plain import plain
from cove.server.registry import Registry
from cove.server.request import User
from cove.server.store import Store
from cove.server.subresources import SPECIALS, SUBRESOURCES

__all__ = ["Api", "Config", "make_api"]


def make_api(
    store: Store,
    config: Config,
    *,
    keys: TokenKeys | None = None,
    tokens: dict[str, User] | None = None,
) -> Api:
    """An Api over a store.

    ``tokens`` are bearer tokens that are known from the start.  Raises UnknownPluginError
    for admission plugins that do not exist.
    """
    return Api(
        store,
        config,
        registry=Registry(
            subresources=SUBRESOURCES,
            specials=SPECIALS,
            plain=plain,
            metrics=metrics,
            hooks={
                "services": ServiceHook(),
                CRDS: CrdHook(),
                "*": InstanceHook(),
                SCHEMAS: FlowSchemaHook(),
                LEVELS: PriorityLevelHook(),
            },
            custom=CustomResources(),
        ),
        identity=Identity(keys or TokenKeys(issuer=config.issuer), tokens),
        admission=build(config.enable_admission, config.disable_admission),
    )
