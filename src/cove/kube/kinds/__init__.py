"""The built-in kinds: defaulting, validation, tables and strategies, one class per kind."""
