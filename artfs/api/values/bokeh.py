"""Plots made with Bokeh."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Self

from artfs.api.values import columntypes as types
from artfs.api.values.content import LocalFile, Staged
from artfs.api.values.media import Media, stored
from artfs.api.values.optional import Foreign, require
from artfs.api.values.places import Json, JsonValue, Source, encode_compact

if TYPE_CHECKING:
    from bokeh.document import Document
    from bokeh.model import Model


class Bokeh(Media):
    """A plot: a Bokeh model (a figure, a layout), a Bokeh document, or the path of a file
    `….bokeh.json` with a document. Needs bokeh."""

    type_name = "bokeh-file"
    folder = "media/bokeh"

    def __init__(self, data_or_path: str | Path | Document | Model) -> None:
        document = require("bokeh.document", "Bokeh").Document
        if isinstance(data_or_path, str | Path):
            if not str(data_or_path).endswith(".bokeh.json"):
                raise ValueError(f"{data_or_path} is no file that ends in .bokeh.json")
            super().__init__(LocalFile(Path(data_or_path)))
            return
        if isinstance(data_or_path, require("bokeh.model", "Bokeh").Model):
            plot = document()
            plot.add_root(data_or_path)
        elif isinstance(data_or_path, document):
            plot = data_or_path
        else:
            raise TypeError(f"no Bokeh document, model or path: {type(data_or_path).__name__}")
        # There and back once, as in W&B: what a reader of the file would write again.
        content = _plain_json(document.from_json(_plain_json(plot)))
        super().__init__(Staged(encode_compact(content), ".bokeh.json"))

    @property
    def b_obj(self) -> Document:
        """The plot, as a new Bokeh document."""
        content = json.loads(self.path.read_bytes())
        return require("bokeh.document", "Bokeh").Document.from_json(content)

    @classmethod
    def from_json(cls, document: Json, source: Source) -> Self:
        plot = cls.__new__(cls)
        Media.__init__(plot, stored(document, source))
        return plot


def _plain_json(document: Foreign) -> JsonValue:
    try:
        return document.to_json(deferred=False)
    except TypeError:  # before Bokeh 3.2
        return document.to_json()


class BokehType(types.ColumnType):
    name = "bokeh-file"


types.register(Bokeh, lambda _: BokehType(), BokehType)
