"""Where clusters come from.  The embedded engine is the first; nothing above knows which it is."""
