"""s3://BUCKET/PREFIX, and the names of objects below it."""

from __future__ import annotations

import re
from urllib.parse import unquote

import msgspec

from artfs.errors import InvalidValue
from artfs.store.keys import check_key, check_prefix

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
#: An object's name may take 1,024 bytes; artfs' own keys take up to 780 of them.
_PREFIX_MAX = 240


class Location(msgspec.Struct, frozen=True):
    """`prefix` is empty, or ends in '/'."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, url: str) -> Location:
        """From `s3://BUCKET[/PREFIX]`. Raises `InvalidValue`."""
        bucket, _, prefix = unquote(url.partition("://")[2]).partition("/")
        if not _BUCKET.match(bucket):
            raise InvalidValue(url, f"'{bucket}' is not the name of a bucket",
                               "it has the form s3://BUCKET/PREFIX")  # fmt: skip
        prefix = prefix.strip("/")
        if len(prefix) > _PREFIX_MAX:
            raise InvalidValue(url, f"its prefix is longer than {_PREFIX_MAX} characters")
        if prefix:
            try:
                check_key(prefix)
            except InvalidValue as error:
                raise InvalidValue(url, f"its prefix: {error.why}") from error
        return cls(bucket, prefix and prefix + "/")

    @property
    def url(self) -> str:
        """The same, normalised."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def name(self, key: str) -> str:
        """The object's name. Raises `InvalidValue` for what can be no key."""
        return self.prefix + check_key(key)

    def name_prefix(self, prefix: str) -> str:
        """What the names of the objects below a prefix begin with. Raises `InvalidValue`."""
        return self.prefix + check_prefix(prefix)

    def key(self, name: str) -> str:
        """The key of an object's name."""
        return name[len(self.prefix) :]
