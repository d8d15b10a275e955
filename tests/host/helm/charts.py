"""Charts for the tests, written where they are needed."""

from __future__ import annotations

from pathlib import Path

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
VALUES = "replicas: 1\nimage: nginx:1.27\nsimulate: ''\n"


def write(folder: Path, *, version: str = "0.1.0", **templates: str) -> Path:
    """A chart ``shop``: a Deployment unless other templates are given."""
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(
        f"apiVersion: v2\nname: shop\nversion: {version}\nappVersion: '7'\n"
    )
    (folder / "values.yaml").write_text(VALUES)
    (folder / "templates" / "NOTES.txt").write_text("{{ .Release.Name }} is served.")
    for name, text in (templates or {"web": WEB}).items():
        (folder / "templates" / f"{name}.yaml").write_text(text)
    return folder
