"""The JSON records of runs. See artfs-format(5), RECORDS."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec
import zstandard

from artfs.errors import Damaged
from artfs.format.record import FORMAT
from artfs.types import ArtifactKey

#: Bytes of a command that are kept.
_COMMAND = 32 << 10
#: Bytes of a bitmap, at most: of a thousand million paths.
_BITMAP_MAX = 1 << 27


class RunSaid(msgspec.Struct, frozen=True, kw_only=True):
    """What a run says of itself, which may change as long as it goes on."""

    name: str = ""
    notes: str = ""
    tags: list[str] = []
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}

    def on(self, there: RunRecord) -> RunRecord:
        """A record with all of this that is not empty."""
        said = {field: getattr(self, field) for field in RunSaid.__struct_fields__}
        return msgspec.structs.replace(there, **{k: v for k, v in said.items() if v})


class RunRecord(RunSaid, frozen=True, kw_only=True):
    """`run.json`. `process` is what `artfs.repo.process` makes of one. Times are as in all records;
    `ended` is empty until the run has ended, `exit` None where nobody knows how."""

    format: int = FORMAT
    id: str
    group: str = ""
    job_type: str = ""
    host: str = ""
    user: str = ""
    command: list[str] = []
    process: str = ""
    started: str
    ended: str = ""
    exit: int | None = None


class RunVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version by its artifact's full name, ENTITY/PROJECT/NAME."""

    artifact: str
    version: int
    digest: str

    @property
    def key(self) -> ArtifactKey:
        """Its artifact. Raises `Damaged`."""
        names = self.artifact.split("/")
        if len(names) != 3:
            raise Damaged(f"artifact '{self.artifact}'", "is not named in full")
        return ArtifactKey(*names)

    def __str__(self) -> str:
        return f"{self.artifact.rpartition('/')[2]}:v{self.version}"


class Input(RunVersion, frozen=True, kw_only=True):
    """A version that a run used. `files`: see `encode_files`."""

    use_as: str = ""
    files: str = ""


class Output(RunVersion, frozen=True, kw_only=True):
    """A version that a run made; not `made`: whose content it had, too."""

    made: bool = True


class RunArtifacts(msgspec.Struct, frozen=True):
    """`artifacts/K.json`, and the sum of all of these."""

    inputs: list[Input] = []
    outputs: list[Output] = []


class UseRecord(msgspec.Struct, frozen=True):
    """`uses/…/ID.json`."""

    used: str = ""


def in_utf8(text: str) -> str:
    """A text as records have it, of a command line that may be in anything."""
    return text.encode("utf-8", "replace").decode()


def shortened(command: list[str]) -> list[str]:
    """A command as records have it: in UTF-8, and not longer than they may be."""
    kept: list[str] = []
    size = 0
    for argument in command:
        text = in_utf8(argument)
        size += len(text.encode()) + 1
        if size > _COMMAND:
            return [*kept, "..."]
        kept.append(text)
    return kept


def summed(parts: list[RunArtifacts]) -> RunArtifacts:
    """The parts of one run as one, in the order in which things were first mentioned; of a version
    that several mounts had, the files that were opened in any of them. Raises `Damaged`."""
    inputs: dict[tuple[str, int, str], Input] = {}
    for one in (each for part in parts for each in part.inputs):
        key = (one.artifact, one.version, one.use_as)
        if key in inputs:
            one = msgspec.structs.replace(one, files=_either(inputs[key].files, one.files))
        inputs[key] = one
    outputs = {(o.artifact, o.version): o for part in parts for o in part.outputs}
    return RunArtifacts(list(inputs.values()), list(outputs.values()))


def encode_files(bitmap: bytes | bytearray) -> str:
    """`Input.files` of a bitmap: bit n mod 8, from the lowest, of byte n / 8 is ordinal n."""
    return base64.b64encode(zstandard.ZstdCompressor(3).compress(bytes(bitmap))).decode()


def decode_files(files: str, paths: int) -> bytes:
    """The bitmap again, of a version with so many paths. Raises `Damaged`."""
    return _bitmap(files, min(paths // 8 + 1, _BITMAP_MAX))


def _either(files: str, others: str) -> str:
    if not files or not others or files == others:
        return files or others
    bits = 0
    for one in (files, others):
        bits |= int.from_bytes(_bitmap(one, _BITMAP_MAX), "little")
    return encode_files(bits.to_bytes((bits.bit_length() + 7) // 8, "little"))


def _bitmap(files: str, most: int) -> bytes:
    try:
        frame = base64.b64decode(files, validate=True)
        size = zstandard.frame_content_size(frame)
        if not 0 <= size <= most:
            raise Damaged("files of a run", f"claim to be {size} bytes")
        return zstandard.ZstdDecompressor().decompress(frame)
    except (binascii.Error, zstandard.ZstdError) as error:
        raise Damaged("files of a run", f"cannot be decoded ({error})") from error
