"""What applications of tests are made of: a chart, manifests, an image of one program."""

from __future__ import annotations

from pathlib import Path

__all__ = ["chart", "deployment", "service"]


def service(name: str = "web", *, target: str = "http", port: int = 80) -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: main, port: {port}, targetPort: {target}}}]
"""


def deployment(
    name: str = "web", *, image: str = "nginx", command: str = "", port: int = 8080
) -> str:
    more = f"\n        command: {command}" if command else ""
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: {image}
        imagePullPolicy: IfNotPresent{more}
        ports: [{{name: http, containerPort: {port}}}]
"""


def chart(folder: Path, *, name: str = "cache", template: str = "") -> Path:
    """A chart with one ConfigMap, or what ``template`` says."""
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(
        f"apiVersion: v2\nname: {name}\nversion: 1.2.3\nappVersion: '9'\n"
    )
    (folder / "values.yaml").write_text("text: default\n")
    (folder / "templates" / "all.yaml").write_text(
        template
        or """
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}"}
data: {text: {{ .Values.text | quote }}}
"""
    )
    return folder
