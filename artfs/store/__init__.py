"""Where objects are kept: the interface `Store`, its implementations, and `open_store`."""
