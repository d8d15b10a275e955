"""helm: releases of charts, put into a cluster by the real Helm.

::

    release = Release("postgres", "charts/postgres", values={"auth": {"password": "dev"}})
    deployed = await deploy(release, kubeconfig=path, client=client, log=print)
"""

from __future__ import annotations

from cove.host.helm._container import ContainerHelm
from cove.host.helm._deploy import deploy, objects, status, uninstall
from cove.host.helm._drivers import Driver, Order
from cove.host.helm._export import export
from cove.host.helm._release import Deployed, HelmError, Release

__all__ = [
    "ContainerHelm",
    "Deployed",
    "Driver",
    "HelmError",
    "Order",
    "Release",
    "deploy",
    "export",
    "objects",
    "status",
    "uninstall",
]
