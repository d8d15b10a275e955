"""A new operator: a project that runs, and whose tests pass.

What is made is made once; from then on it is its owner's.
"""

from __future__ import annotations

import re
from pathlib import Path

from cove._version import __version__
from cove.kube.names import is_dns1123_label
from cove.operator.errors import EntityError

__all__ = ["scaffold"]

_PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["cove[operator]>={version}"]

[project.optional-dependencies]
dev = ["pytest>=8.3", "pytest-asyncio>=0.25"]

[tool.hatch.build.targets.wheel]
packages = ["{package}"]

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["."]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"

[tool.cove.operator]
module = "{package}:op"
image = "{name}:0.1.0"
namespace = "{name}"
out = "deploy"
"""
_INIT = '''\
"""{title}: an operator."""

from {package}.app import op

# Every module of this package declares what it has for the operator.
op.scan(__name__)

__all__ = ["op"]
'''
_APP = '''\
"""The operator itself; what it does is declared in the modules beside this one."""

from cove.operator import Operator

op = Operator("{name}")
'''
_MAIN = '''\
"""``python -m {package} run``, ``install``, ``generate all`` …"""

from {package} import op

op.main()
'''
_KIND = '''\
"""{kind}: the kind."""

from typing import Annotated

from cove.operator import Column, Entity, Range, Struct, entity


class {kind}Spec(Struct):
    """What is wanted."""

    replicas: Annotated[int, Range(0, 10), Column("Replicas")] = 1
    """How many."""


class {kind}Status(Struct):
    """How it is."""

    ready: Annotated[int, Column("Ready")] = 0


@entity("{group}/v1")
class {kind}(Entity):
    """A {lower}."""

    spec: {kind}Spec = {kind}Spec()
    status: {kind}Status = {kind}Status()
'''
_CONTROLLER = '''\
"""What is done for a {kind}."""

from cove.operator import Ctx, ObjectMeta
from cove.operator.kinds import ConfigMap

from {package}.app import op
from {package}.kind import {kind}


@op.controller({kind}, owns=[ConfigMap])
class {kind}Controller:
    """Keeps a ConfigMap for each."""

    async def reconcile(self, obj: {kind}, ctx: Ctx) -> None:
        data = {{"replicas": str(obj.spec.replicas)}}
        await ctx.apply(ConfigMap(metadata=ObjectMeta(name=obj.metadata.name), data=data))
        obj.status.ready = obj.spec.replicas
'''
_WEBHOOK = '''\
"""What may be written of a {kind}."""

from cove.operator import Invalid

from {package}.app import op
from {package}.kind import {kind}


@op.validate({kind}, on="update")
def shrinks_slowly(new: {kind}, old: {kind}) -> None:
    """One at a time."""
    if new.spec.replicas < old.spec.replicas - 1:
        raise Invalid("takes away more than one", field="spec.replicas")
'''
_TESTS = '''\
"""The operator on a cluster of its own, in this process."""

import pytest
from cove.kube.status import StatusError
from cove.operator import ObjectMeta
from cove.operator.kinds import ConfigMap
from cove.testing import OperatorWorld, operator_fixture

from {package} import op
from {package}.kind import {kind}, {kind}Spec

world = operator_fixture(op)


def made(replicas: int) -> {kind}:
    return {kind}(metadata=ObjectMeta(name="a"), spec={kind}Spec(replicas=replicas))


async def test_it_becomes_ready(world: OperatorWorld) -> None:
    await world.create(made(3))

    await world.eventually(lambda: world.get({kind}, "a").status.ready == 3)
    assert world.get(ConfigMap, "a").data == {{"replicas": "3"}}


async def test_what_is_used_is_granted(world: OperatorWorld) -> None:
    await world.create(made(1))

    await world.eventually(lambda: world.get({kind}, "a").status.ready == 1)
    assert not world.report().missing
'''
_TEST_WEBHOOK = """

async def test_it_shrinks_slowly(world: OperatorWorld) -> None:
    obj = await world.create(made(3))

    with pytest.raises(StatusError, match="takes away more than one"):
        await world.patch(obj, {{"spec": {{"replicas": 1}}}})
"""
_README = """\
# {name}

An operator for `{lower}s.{group}`.

```
pip install -e '.[dev]'
python -m pytest                             # on clusters of their own, in the process
cove operator install                        # the kinds, on the current context
cove operator run                            # from here; Ctrl-C ends it
cove operator generate all                   # into deploy/
docker build -f deploy/Dockerfile -t {name}:0.1.0 .
kubectl apply -k deploy/installer
```

`python -m {package}` takes the same commands.
"""
_IGNORED = "__pycache__/\n*.egg-info/\n.venv/\n.pytest_cache/\n"


def scaffold(name: str, folder: Path, *, webhook: bool = True) -> list[Path]:
    """Make the project; its files.  Raises EntityError for a name or a folder that cannot be."""
    if is_dns1123_label(name) or not re.match(r"[a-z]", name):
        raise EntityError(
            f"{name!r}: a name is of lower-case letters, digits and -, a letter first"
        )
    if folder.exists() and any(folder.iterdir()):
        raise EntityError(f"{folder}: there is something already; name another --dir")
    noun = name.removesuffix("-operator") or name
    kind = "".join(part.capitalize() for part in noun.split("-"))
    words = {
        "name": name,
        "package": name.replace("-", "_"),
        "title": name.replace("-", " ").capitalize(),
        "kind": kind,
        "lower": kind.lower(),
        "group": f"{noun}.example.com",
        "version": __version__.partition(".dev")[0],
    }
    package = words["package"]
    texts = {
        "pyproject.toml": _PYPROJECT,
        "README.md": _README,
        ".gitignore": _IGNORED,
        f"{package}/__init__.py": _INIT,
        f"{package}/__main__.py": _MAIN,
        f"{package}/app.py": _APP,
        f"{package}/kind.py": _KIND,
        f"{package}/controller.py": _CONTROLLER,
        f"tests/test_{package}.py": _TESTS + (_TEST_WEBHOOK if webhook else ""),
    }
    if webhook:
        texts[f"{package}/webhook.py"] = _WEBHOOK
    else:
        test = f"tests/test_{package}.py"
        texts[test] = texts[test].replace(
            "import pytest\nfrom cove.kube.status import StatusError\n", ""
        )
    out = []
    for place, text in texts.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(**words))
        out.append(path)
    return out
