"""The Python API, in the shape of W&B Artifacts; `artfs` itself exports what is for use.

Synchronous but for logging, which a thread of the run does; thread-safe; prints nothing. The
environment is read by `init`, by `Api`, and by an artifact that is made outside a run.
"""
