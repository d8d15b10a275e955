"""What happens around the writes of certain resources: one module each."""
