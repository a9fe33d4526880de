"""Web pages."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any, Self

from artfs.api.values import columntypes as types
from artfs.api.values.content import LocalFile, Staged
from artfs.api.values.media import Media, stored
from artfs.api.values.places import Json, Source

# What W&B puts there, and looks for.
_HEAD = (
    '<base target="_blank"><link rel="stylesheet" type="text/css" '
    'href="https://app.wandb.ai/normalize.css" />'
)


class Html(Media):
    """A page: HTML as a string, an open file, or the path of a file that ends in `.html`.

    - `inject`: put W&B's style sheet into its head; the page is then a copy of the file
    - `data_is_not_path`: a string is HTML even if there is a file of that name
    """

    type_name = "html-file"
    folder = "media/html"

    def __init__(
        self, data: str | Path | IO[Any], inject: bool = True, data_is_not_path: bool = False
    ) -> None:
        path = None if data_is_not_path else _as_path(data)
        if path is not None:
            html = path.read_text("utf-8")
        elif isinstance(data, str):
            html = data
        elif isinstance(data, Path):
            raise ValueError(f"{data} is no file that ends in .html")
        elif hasattr(data, "read"):
            html = _text_of(data)
        else:
            raise ValueError(f"data must be a string or an open file, not {type(data).__name__}")
        self._html: str | None = _with_head(html) if inject else html
        if path is not None and not inject:
            super().__init__(LocalFile(path))
        else:
            super().__init__(Staged(self.html.encode(), ".html"))

    @property
    def html(self) -> str:
        """The page's text."""
        if self._html is None:
            self._html = self.path.read_text("utf-8")
        return self._html

    @classmethod
    def from_json(cls, document: Json, source: Source) -> Self:
        page = cls.__new__(cls)
        Media.__init__(page, stored(document, source))
        page._html = None
        return page


def _text_of(file: IO[Any]) -> str:
    """All that is in an open file, which is in UTF-8 where it was opened as binary."""
    if file.seekable():
        file.seek(0)
    content: str | bytes = file.read()
    return content.decode() if isinstance(content, bytes) else content


def _as_path(data: str | Path | IO[Any]) -> Path | None:
    # Whole pages are too long for names of files, and asking for one is an error.
    if not isinstance(data, str | Path) or not str(data).endswith(".html") or "\0" in str(data):
        return None
    try:
        return Path(data) if Path(data).is_file() else None
    except OSError:
        return None


def _with_head(html: str) -> str:
    if "<head>" in html:
        before, after = html.split("<head>", 1)
        parts = [before, "<head>", _HEAD, after]
    elif "<html>" in html:
        before, after = html.split("<html>", 1)
        parts = [before, "<html><head>", _HEAD, "</head>", after]
    else:
        parts = [_HEAD, html]
    return "".join(parts).strip()


class HtmlType(types.ColumnType):
    name = "html-file"


types.register(Html, lambda _: HtmlType(), HtmlType)
