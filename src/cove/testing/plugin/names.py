"""Names that the plugin and its users have to agree on."""

__all__ = ["MARK"]

# The fixture that everything with a cluster depends on.
MARK = "cove_environment"
