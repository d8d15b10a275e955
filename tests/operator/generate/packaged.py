"""An operator with everything that generators look at."""

from __future__ import annotations

from cove.operator import Ctx, Entity, ObjectMeta, Operator, Settings, Struct, entity
from cove.operator.kinds import ConfigMap


class ShopSpec(Struct):
    """What is wanted of a shop."""

    shelves: int = 1


class ShopStatus(Struct):
    shelves: int = 0


@entity("shop.example.com/v1")
class Shop(Entity):
    """A shop."""

    spec: ShopSpec = ShopSpec()
    status: ShopStatus = ShopStatus()


def operator(settings: Settings | None = None, *, webhooks: bool = False) -> Operator:
    """Keeps a config map for each shop."""
    op = Operator("shop-operator", settings)

    @op.controller(Shop, owns=[ConfigMap])
    class Controller:
        async def reconcile(self, shop: Shop, ctx: Ctx) -> None:
            data = {"shelves": str(shop.spec.shelves)}
            await ctx.apply(ConfigMap(metadata=ObjectMeta(name=shop.metadata.name), data=data))
            shop.status.shelves = shop.spec.shelves

    if webhooks:

        @op.validate(Shop)
        def check(new: Shop) -> None: ...

    return op
