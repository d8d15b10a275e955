"""What the scenarios apply."""

from __future__ import annotations

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: main, image: "nginx:1.27", ports: [{containerPort: 80}]}
"""

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80}]
"""

CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: config, labels: {set: all}}
data: {colour: "%s"}
"""

POD = """
apiVersion: v1
kind: Pod
metadata: {name: solo}
spec:
  containers: [{name: main, image: "busybox:1"}]
"""
