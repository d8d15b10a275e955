"""The resources that an application can declare, one kind per file."""
