"""A machine that has not what it takes is told so, and nothing is changed."""

from __future__ import annotations

import os
import shutil
from ipaddress import IPv4Address, IPv4Network

import pytest
from tests.node.network.lan import sh

from cove.client import Informers
from cove.engines.embedded import EmbeddedCluster
from cove.kube.status import CoveError
from cove.node.network import Bridge, ClusterNetwork, MachineLacksError, machine, missing, reap


def make(api: EmbeddedCluster, informers: Informers, key: str = "5eed0009") -> ClusterNetwork:
    gateway = IPv4Address("10.213.9.1")
    subnet = IPv4Network("10.213.9.0/24")
    return ClusterNetwork(
        api.client,
        informers=informers,
        bridge=Bridge(interface="cvt-none", subnet=subnet, gateway=gateway),
        service_subnet=IPv4Network("10.214.9.0/24"),
        pod_subnet=subnet,
        api=(str(gateway), 6443),
        key=key,
    )


async def test_everything_that_is_missing_is_named(
    api: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one error, a sentence each with the next step; nobody is left behind to reap."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert [s for s in missing() if "root" in s or "install" in s] == [
        "Changing routes and packet filters needs root: run cove with sudo.",
        "iptables-restore is missing: install the package iptables.",
        "The command ip is missing: install the package iproute2.",
    ]
    async with Informers(api.client) as informers:
        with pytest.raises(MachineLacksError, match="sudo") as raised:
            await make(api, informers).__aenter__()
    assert isinstance(raised.value, CoveError)
    assert list(raised.value.reasons) == missing()
    await reap([])


async def test_other_systems_are_told_what_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    """One sentence is enough there."""
    monkeypatch.setattr(machine, "_FORWARDING", machine.Path(f"{tmp_path}/none"))
    assert len(missing()) == 1


@pytest.mark.requires("root")
async def test_a_machine_that_cannot_be_changed_is_told(
    api: EmbeddedCluster, nothing_leaves: None
) -> None:
    """As missing something, with what the command said; the routes are taken back."""
    async with Informers(api.client) as informers:
        with pytest.raises(MachineLacksError, match="does not let itself be changed"):
            # There is no such bridge: its address is nobody's to send from.
            await make(api, informers).__aenter__()
    assert "10.21" not in sh("ip", "route", "show", "proto", "67")


async def test_keys_are_eight_digits(api: EmbeddedCluster) -> None:
    """They are part of names that the kernel keeps short."""
    async with Informers(api.client) as informers:
        with pytest.raises(ValueError, match="eight hexadecimal digits"):
            make(api, informers, key="cove")
