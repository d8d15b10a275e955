"""Charts for the tests, written where they are needed, and values of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}-web}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata:
      labels: {app: {{ .Release.Name }}}
      annotations: {cove.dev/simulate: {{ .Values.simulate | quote }}}
    spec: {containers: [{name: main, image: {{ .Values.image | quote }}}]}
"""
DEFAULTS = "replicas: 1\nimage: nginx:1.27\nsimulate: ''\n"


def write(folder: Path, *, version: str = "0.1.0", **templates: str) -> Path:
    """A chart ``shop``: a Deployment unless other templates are given."""
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(
        f"apiVersion: v2\nname: shop\nversion: {version}\nappVersion: '7'\n"
    )
    (folder / "values.yaml").write_text(DEFAULTS)
    (folder / "templates" / "NOTES.txt").write_text("{{ .Release.Name }} is served.")
    for name, text in (templates or {"web": WEB}).items():
        (folder / "templates" / f"{name}.yaml").write_text(text)
    return folder


NASTY = st.text(
    st.sampled_from(",{}[]\\.\"'=:#&*!|>%@`~-?\n\t\r \x00\x7f\x85\u2028\ufeff😀é01eEyYnN")
)
TEXTS = st.one_of(NASTY, st.text(), st.sampled_from(["1", "1e3", "0x1F", "yes", "n", "null", ""]))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
)
VALUES = st.dictionaries(
    TEXTS,
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=6,
)


def same(one: Any, other: Any) -> bool:
    """Equal, and of one type but for numbers, of which Helm has one kind."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    numbers = (int, float)
    if isinstance(one, bool) or isinstance(other, bool) or not isinstance(one, numbers):
        return type(one) is type(other) and bool(one == other)
    return isinstance(other, numbers) and float(one) == float(other)
