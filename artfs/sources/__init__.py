"""Where references lead: readers of `s3://`, `gs://`, `http(s)://` and `file://`, one module each.

Synchronous and thread-safe. They know of URIs and of what a reference records, not of versions:
`artfs.repo.references` brings the two together, and has the scheme `artfs://`.
"""
