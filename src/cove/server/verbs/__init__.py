"""The verbs: one module each, every one a function from a request to a response."""
