"""An operator with children of its own and webhooks.

    cove operator install examples/operator-shop/shop.py
    cove operator run examples/operator-shop/shop.py      # or: python shop.py run

A Shop is a Deployment and a Service; how ready it is, is read from the Deployment.  What may be
written is asked of the operator: names of images are made whole, shops shrink slowly.
"""

from __future__ import annotations

from typing import Annotated

from cove.operator import (
    Column,
    Condition,
    Ctx,
    Entity,
    Invalid,
    Length,
    ListMap,
    ObjectMeta,
    Operator,
    Range,
    Struct,
    entity,
    field,
)
from cove.operator.kinds import Deployment, Service
from cove.operator.kinds.apps_v1 import DeploymentSpec
from cove.operator.kinds.core_v1 import (
    Container,
    ContainerPort,
    PodSpec,
    PodTemplateSpec,
    ServicePort,
    ServiceSpec,
)
from cove.operator.kinds.meta_v1 import LabelSelector


class ShopSpec(Struct):
    """What is sold, and by how many."""

    image: Annotated[str, Length(1, 255)]
    clerks: Annotated[int, Range(0, 20), Column("Clerks")] = 1
    port: Annotated[int, Range(1, 65535)] = 8080


class ShopStatus(Struct):
    """How it goes."""

    ready: Annotated[int, Column("Ready")] = 0
    url: Annotated[str, Column("URL")] = ""
    conditions: Annotated[list[Condition], ListMap("type")] = field(default_factory=list)


@entity("shops.example.com/v1")
class Shop(Entity):
    """A shop."""

    spec: ShopSpec
    status: ShopStatus = ShopStatus()


op = Operator("shop-operator")


@op.controller(Shop, owns=[Deployment, Service])
class ShopController:
    """Keeps a Deployment and a Service for each shop."""

    async def reconcile(self, shop: Shop, ctx: Ctx) -> None:
        name = shop.metadata.name
        await ctx.apply(deployment(shop))
        await ctx.apply(service(shop))
        live = await ctx.get(Deployment, name)
        ready = live.status.ready_replicas or 0 if live is not None else 0
        if ready == shop.spec.clerks and shop.status.ready != ready:
            ctx.event("Open", f"{ready} serve")
        shop.status.ready = ready
        shop.status.url = f"http://{name}.{shop.metadata.namespace}.svc"

    async def finalize(self, shop: Shop, ctx: Ctx) -> None:
        ctx.log.info("closes")


@op.mutate(Shop)
def whole_name(new: Shop) -> None:
    """An image without a tag is the newest."""
    if ":" not in new.spec.image.rpartition("/")[2]:
        new.spec.image += ":latest"


@op.validate(Shop)
def shrinks_slowly(new: Shop, old: Shop | None, warnings: list[str]) -> None:
    """At most half of the clerks go at once; the newest image is nothing to rely on."""
    if old and new.spec.clerks < old.spec.clerks // 2:
        raise Invalid(f"at most half of {old.spec.clerks} may go at once", field="spec.clerks")
    if new.spec.image.endswith(":latest"):
        warnings.append(f"{new.spec.image} may be another image tomorrow")


def labels(shop: Shop) -> dict[str, str]:
    return {"app.kubernetes.io/name": "shop", "app.kubernetes.io/instance": shop.metadata.name}


def deployment(shop: Shop) -> Deployment:
    ports = [ContainerPort(name="http", container_port=shop.spec.port)]
    pod = PodSpec(containers=[Container(name="shop", image=shop.spec.image, ports=ports)])
    template = PodTemplateSpec(metadata=ObjectMeta(labels=labels(shop)), spec=pod)
    return Deployment(
        metadata=ObjectMeta(name=shop.metadata.name, labels=labels(shop)),
        spec=DeploymentSpec(
            replicas=shop.spec.clerks,
            selector=LabelSelector(match_labels=labels(shop)),
            template=template,
        ),
    )


def service(shop: Shop) -> Service:
    ports = [ServicePort(name="http", port=80, target_port="http")]
    return Service(
        metadata=ObjectMeta(name=shop.metadata.name, labels=labels(shop)),
        spec=ServiceSpec(selector=labels(shop), ports=ports),
    )


if __name__ == "__main__":
    op.main()
