"""Make the typed built-in kinds of operators from the catalogue's schema files.

    python scripts/generate_kinds.py

One module per API package in ``src/cove/operator/kinds``, with all that the served kinds are
made of.  What Go leaves out when it is zero has the zero as its default; what Go always writes
and Kubernetes requires has none; pointers are None.  A test holds that the modules in the tree
are those that this script makes.
"""

from __future__ import annotations

import keyword
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from cove.kube.catalogue import Resource, resources
from cove.kube.catalogue._load import definitions, stem_of
from cove.operator.entities._struct import wire_name

OUT = Path(__file__).parent.parent / "src" / "cove" / "operator" / "kinds"
# What operators have already: the metadata of every object, and references.
OWN = {
    ("meta.v1", "ObjectMeta"): "ObjectMeta",
    ("meta.v1", "OwnerReference"): "OwnerReference",
    ("meta.v1", "ManagedFieldsEntry"): "ManagedFieldsEntry",
    ("core.v1", "ObjectReference"): "ObjectReference",
}
SCALARS = {"s": "str", "i": "Int32", "l": "int", "f": "float", "b": "bool", "y": "bytes"}
ZEROS = {"s": '""', "i": "0", "l": "0", "f": "0.0", "b": "False", "y": 'b""'}
# Values of their own kind, whose zero is not written: absent is None.
VALUES = {"q": "Quantity", "o": "IntOrString", "t": "datetime", "T": "MicroTime"}
# Names that annotations use cannot be those of attributes beside them.
TAKEN = {"bool", "bytes", "dict", "field", "float", "int", "list", "str"}


def attribute(name: str) -> str:
    """``clusterIPs`` → ``cluster_ips``; Python's words get an underscore."""
    text = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_")
    text = re.sub(r"([A-Z]{2,})s(?=$|[A-Z])", lambda m: m[1].capitalize() + "s", text)
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text).lower()
    return f"{text}_" if keyword.iskeyword(text) or text in TAKEN else text


class Package:
    """The module of one API package while it is made."""

    def __init__(self, world: World, stem: str) -> None:
        self.world = world
        self.stem = stem
        self.file = definitions(stem)
        self.done: dict[str, str] = {}
        self.imports: set[str] = set()
        self.names: dict[str, set[str]] = {}

    def use(self, module: str, name: str) -> str:
        """A name of cove's that the module needs."""
        self.names.setdefault(module, set()).add(name)
        return name

    def marker(self, name: str, *arguments: Any) -> str:
        return f"{self.use('cove.operator.markers', name)}({', '.join(map(repr, arguments))})"

    def need(self, name: str) -> None:
        """Write a definition, what it is made of first."""
        if name in self.done or (self.stem, name) in OWN:
            return
        self.done[name] = ""
        entry = self.file[name]
        resource = self.world.kinds.get((self.stem, name))
        rows = [
            r for r in entry["f"] if not (resource and r[0] in ("kind", "apiVersion", "metadata"))
        ]
        lines = [self.field(name, row) for row in rows]
        base = "Kind" if resource else "Part"
        head = [f"class {name}({self.use('cove.operator.entities', base)}):"]
        if resource:
            head.insert(0, self.declaration(resource))
        elif entry.get("t") == "atomic":
            self.use("cove.operator.markers", "mark")
            head.insert(0, f"@mark({self.marker('MapAtomic')})")
        del self.done[name]
        self.done[name] = "\n".join([*head, *(f"    {line}" for line in lines or ["pass"])])

    def declaration(self, resource: Resource) -> str:
        self.use("cove.operator.entities", "builtin")
        more = [repr(resource.api_version), repr(resource.plural)]
        if resource.singular != resource.kind.lower():
            more.append(f"singular={resource.singular!r}")
        if resource.short_names:
            more.append(f"short_names={resource.short_names!r}")
        if resource.categories:
            more.append(f"categories={resource.categories!r}")
        if not resource.namespaced:
            more.append("scope='Cluster'")
        return f"@builtin({', '.join(more)})"

    def field(self, owner: str, row: list[Any]) -> str:
        name, kind, emit, _ = row[:4]
        more: dict[str, Any] = row[4] if len(row) > 4 else {}
        hint, default = self.typed(kind, emit, name, owner)
        markers = []
        if "l" in more and more["l"] == "map":
            markers.append(self.marker("ListMap", *more["k"]))
        elif more.get("l") == "set":
            markers.append(self.marker("ListSet"))
        if more.get("t") == "atomic":
            markers.append(self.marker("MapAtomic"))
        if more.get("d") not in (None, "", {}):
            markers.append(self.marker("Default", more["d"]))
        if emit.endswith("!") and default:
            markers.append(self.marker("Required"))
        if markers:
            self.use("typing", "Annotated")
            hint = f"Annotated[{hint}, {', '.join(markers)}]"
        python = attribute(name)
        if wire_name(python) != name:
            if default.startswith("field("):
                default = f'{default[:-1]}, name="{name}")'
            else:
                inner = f"default={default}, " if default not in ("", "[]", "{}") else ""
                if default in ("[]", "{}"):
                    inner = f"default_factory={'list' if default == '[]' else 'dict'}, "
                default = f'{self.use("cove.operator.entities", "field")}({inner}name="{name}")'
        return f"{python}: {hint}" + (f" = {default}" if default else "")

    def typed(self, kind: str, emit: str, name: str, owner: str) -> tuple[str, str]:
        """The annotation of a field and its default, "" for none."""
        hint = self.hint(kind)
        required = emit in ("a!", "t!", "n!") and not self.world.is_status(self.stem, owner)
        if kind.startswith(("[]", "{}")):
            return hint, "[]" if kind.startswith("[]") else "{}"
        if kind[0] == "x":
            return hint, "None"
        if kind in VALUES:
            required = required and kind in "qo"
            return (hint, "") if required else (f"{hint} | None", "None")
        if kind in SCALARS:
            if emit in ("p", "p!", "n"):
                return f"{hint} | None", "None"
            return hint, "" if required else ZEROS[kind]
        if emit in ("p", "p!", "n"):
            return f"{hint} | None", "None"
        if required or not self.world.is_empty(*self.target(kind)):
            return hint, ""
        return hint, f"{self.use('cove.operator.entities', 'field')}(default_factory={hint})"

    def target(self, kind: str) -> tuple[str, str]:
        package, _, name = kind[1:].rpartition(":")
        return package or self.stem, name

    def hint(self, kind: str) -> str:
        if kind.startswith("[]"):
            return f"list[{self.hint(kind[2:])}]"
        if kind.startswith("{}"):
            return f"dict[str, {self.hint(kind[2:])}]"
        if kind[0] == "x":
            return self.use("typing", "Any")
        if kind in ("i", "q", "o"):
            return self.use("cove.operator.markers", SCALARS.get(kind) or VALUES[kind])
        if kind == "t":
            return self.use("datetime", "datetime")
        if kind == "T":
            return self.use("cove.operator.entities", "MicroTime")
        if kind in SCALARS:
            return SCALARS[kind]
        stem, name = self.target(kind)
        if (stem, name) in OWN:
            return self.use("cove.operator.entities", OWN[stem, name])
        self.world.package(stem).need(name)
        if stem == self.stem:
            return name
        module = module_of(stem)
        self.imports.add(module)
        return f"{module}.{name}"

    def text(self) -> str:
        head = f'"""The types of {self.title}, made by ``scripts/generate_kinds.py``."""'
        lines = [head, "", "from __future__ import annotations", ""]
        lines += [f"from {m} import {', '.join(sorted(n))}" for m, n in sorted(self.names.items())]
        if self.imports:
            lines.append(f"from cove.operator.kinds import {', '.join(sorted(self.imports))}")
        lines += ["", f"__all__ = {sorted(self.done)!r}", ""]
        for body in self.done.values():
            lines += ["", "", body]
        return "\n".join(lines) + "\n"

    @property
    def title(self) -> str:
        group, version = self.stem.rsplit(".", 1)
        return version if group == "core" else f"{group}/{version}"


def module_of(stem: str) -> str:
    return stem.replace(".", "_")


class World:
    """All packages."""

    def __init__(self) -> None:
        self.packages: dict[str, Package] = {}
        self.kinds: dict[tuple[str, str], Resource] = {}
        for resource in resources():
            self.kinds.setdefault(
                (stem_of(resource.group, resource.version), resource.kind), resource
            )
        self.empty: dict[tuple[str, str], bool] = {}
        self.statuses: set[tuple[str, str]] = set()
        for stem, kind in self.kinds:
            self.note_statuses(stem, kind, {"status"})

    def package(self, stem: str) -> Package:
        if stem not in self.packages:
            self.packages[stem] = Package(self, stem)
        return self.packages[stem]

    def note_statuses(self, stem: str, kind: str, names: set[str] | None = None) -> None:
        """The structs that a status is made of by value: nobody has to write them in full."""
        for name, type, emit, *_ in self.package(stem).file.get(kind, {"f": []})["f"]:
            if type[0] == "@" and emit[0] == "t" and (names is None or name in names):
                target = self.package(stem).target(type)
                if target not in self.statuses:
                    self.statuses.add(target)
                    self.note_statuses(*target)

    def is_status(self, stem: str, name: str) -> bool:
        return (stem, name) in self.statuses

    def is_empty(self, stem: str, name: str) -> bool:
        """Whether a struct can be made of nothing."""
        if (stem, name) in OWN:
            return (stem, name) != ("meta.v1", "OwnerReference")
        if (stem, name) not in self.empty:
            self.empty[stem, name] = True  # a struct that contains itself does so by a pointer
            package = self.package(stem)
            self.empty[stem, name] = all(
                package.typed(row[1], row[2], row[0], name)[1] for row in package.file[name]["f"]
            )
        return self.empty[stem, name]

    def run(self) -> dict[str, str]:
        """The files by name."""
        for stem, kind in self.kinds:
            if kind in definitions(stem):
                self.package(stem).need(kind)
        texts = {f"{module_of(s)}.py": p.text() for s, p in self.packages.items() if p.done}
        return {**texts, "__init__.py": self.door()}

    def door(self) -> str:
        homes: dict[str, list[str]] = {}
        seen: set[str] = set()
        for stem, kind in self.kinds:
            if kind not in seen and kind in definitions(stem):
                seen.add(kind)
                homes.setdefault(module_of(stem), []).append(kind)
        lines = [
            '"""The built-in kinds, typed: ``from cove.operator.kinds import Deployment``.',
            "",
            "What kinds are made of is in the module of their group and version:",
            "``from cove.operator.kinds.core_v1 import Container``.  A module is loaded when something",
            "of it is first named.  Made by ``scripts/generate_kinds.py``.",
            '"""',
            "",
            "from __future__ import annotations",
            "",
            "from typing import TYPE_CHECKING, Any",
            "",
            "if TYPE_CHECKING:",
        ]
        for module, kinds in sorted(homes.items()):
            lines.append(f"    from cove.operator.kinds.{module} import {', '.join(sorted(kinds))}")
        lines += ["", "_HOMES = {"]
        lines += [f'    "{m}": "{" ".join(sorted(k))}",' for m, k in sorted(homes.items())]
        lines += [
            "}",
            "_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}",
            f"__all__ = {sorted(seen)!r}",
            "",
            "",
            "def __getattr__(name: str) -> Any:",
            "    home = _HOME.get(name)",
            "    if home is None:",
            "        raise AttributeError(f\"module 'cove.operator.kinds' has no attribute {name!r}\")",
            "    from importlib import import_module",
            "",
            '    value = getattr(import_module(f"cove.operator.kinds.{home}"), name)',
            "    globals()[name] = value",
            "    return value",
            "",
            "",
            "def __dir__() -> list[str]:",
            "    return sorted(__all__)",
        ]
        return "\n".join(lines) + "\n"


def formatted(text: str) -> str:
    command = [sys.executable, "-m", "ruff"]
    for step in (["check", "--select", "I,RUF022", "--fix", "--quiet", "-"], ["format", "-"]):
        name = ["--stdin-filename", str(OUT / "generated.py")]
        done = subprocess.run(
            [*command, *step, *name], input=text, capture_output=True, text=True, check=True
        )
        text = done.stdout
    return text


def generate() -> dict[str, str]:
    """The texts of all modules by the names of their files."""
    return {name: formatted(text) for name, text in sorted(World().run().items())}


def main() -> int:
    OUT.mkdir(exist_ok=True)
    texts = generate()
    for old in OUT.glob("*.py"):
        if old.name not in texts:
            old.unlink()
    for name, text in texts.items():
        (OUT / name).write_text(text)
    print(f"{len(texts)} modules, {sum(map(len, texts.values()))} characters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
