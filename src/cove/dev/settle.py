"""Settle: what is decided and exported before anything is started.

The container engine, for programs that ask Docker's API by themselves; and the name of the
cluster, with the git branch in it where that is wanted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from pathlib import Path

from cove.dev.errors import ConfigurationError, DevError
from cove.dev.plan import Plan
from cove.node.docker import EngineAddress, EngineError, find_engine

__all__ = ["branch_of", "container_engine", "exported", "on_branch"]

VARIABLE = "COVE_CONTAINER_ENGINE"
DOCKER = "unix:///var/run/docker.sock"
# A cluster's name has at most so many characters.
LONGEST = 40


def container_engine(
    flag: str | None, environ: MutableMapping[str, str] | None = None
) -> EngineAddress | None:
    """The engine that everything uses from now on, exported into ``environ``.

    Raises DevError naming who chose what cannot be used; nothing is exported then.
    """
    environ = os.environ if environ is None else environ
    try:
        address = find_engine(flag, environ)
    except EngineError as e:
        raise DevError(str(e)) from e
    if address is None:
        return None
    for name, value in exported(address).items():
        if value is None:
            environ.pop(name, None)
        else:
            environ[name] = value
    return address


def exported(address: EngineAddress) -> Mapping[str, str | None]:
    """What tells other programs the same: None unsets a variable.

    Docker at its own socket is what everybody takes who is told nothing.
    """
    return {
        VARIABLE: address.url,
        "DOCKER_HOST": None if address.url == DOCKER else address.url,
    }


def branch_of(folder: Path) -> str:
    """The git branch that is checked out, "" where HEAD is on none.

    Raises ConfigurationError where there is no repository.
    """
    for place in (folder, *folder.parents):
        git = place / ".git"
        if git.is_file():  # a worktree: it says where its own folder is
            pointed = git.read_text().partition("gitdir:")[2].strip()
            git = (place / pointed).resolve()
        if (git / "HEAD").is_file():
            head = (git / "HEAD").read_text().strip()
            _, found, branch = head.partition("ref: refs/heads/")
            return branch if found else ""
    raise ConfigurationError(
        f"{folder} is in no git repository: leave --per-branch out, or name the cluster with --name"
    )


def on_branch(plan: Plan, branch: str) -> Plan:
    """The plan with a cluster of the branch's own; a HEAD on no branch has the plan's."""
    if not branch:
        return plan
    suffix = re.sub(r"[^a-z0-9]+", "-", branch.lower()).strip("-")
    name = f"{plan.cluster.name}-{suffix}"[:LONGEST].rstrip("-")
    return replace(plan, cluster=replace(plan.cluster, name=name))
