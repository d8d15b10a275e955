"""host: an application — clusters, Helm releases, manifests, endpoints, processes — as one."""
