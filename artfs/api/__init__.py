"""The Python API. Its modules are loaded when a name of theirs is used: see `artfs.__init__`."""
