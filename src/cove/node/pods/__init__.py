"""What a kubelet makes of a pod before and besides running it: environment, volumes, probes."""
