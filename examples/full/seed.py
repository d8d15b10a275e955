"""Puts an offer into the cluster, once: a job, after which others start."""

import asyncio

from cove.client import Client, kubeconfig
from cove.kube.gvk import GVR

OFFERS = GVR("shop.example.com", "v1", "offers")


async def main() -> None:
    coffee = {
        "apiVersion": "shop.example.com/v1",
        "kind": "Offer",
        "metadata": {"name": "coffee"},
        "spec": {"title": "Coffee, ground", "price": 9},
    }
    async with Client.connect(kubeconfig.load()) as client:
        await client.patch(OFFERS, "coffee", coffee, "shop", type="apply", field_manager="seed")
    print("seeded: coffee")


if __name__ == "__main__":
    asyncio.run(main())
