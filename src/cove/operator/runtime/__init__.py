"""runtime: controllers at work — stores, queues, calls, finalizers, status, events."""
