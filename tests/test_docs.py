"""The man pages agree with the program: commands, options, exit statuses, format constants."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from artfs.cli import exits
from artfs.cli.app import cli
from artfs.format import build, node, pack, record, runs
from artfs.repo import chunking, known
from artfs.types import BlobRef
from tests.support.manual import ROOT, plain, sections, sentences

PAGES = sorted((ROOT / "man").glob("*.[1-8]"))


def commands() -> dict[str, click.Command]:
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def options_of(command: click.Command) -> list[str]:
    return [
        option
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for option in (*parameter.opts, *parameter.secondary_opts)
    ]


USER_PAGE = plain(ROOT / "man/artfs.1")
#: The section of each command, by its name; `artfs NAME ARGUMENT...` is the heading.
COMMAND_SECTIONS = {
    heading.split()[1]: (heading, body.partition("\n.SH ")[0])
    for heading, body in sections(USER_PAGE, "SS").items()
    if heading.startswith("artfs ")
}
FORMAT = sections(plain(ROOT / "man/artfs-format.5"), "SH")


def names_option(text: str, option: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text) is not None


@pytest.mark.parametrize("name", list(commands()))
def test_a_command_and_its_options_are_documented(name: str) -> None:
    assert name in COMMAND_SECTIONS, f"artfs.1 has no section '.SS artfs {name} ...'"
    _, body = COMMAND_SECTIONS[name]
    missing = [option for option in options_of(commands()[name]) if not names_option(body, option)]
    assert not missing, f"artfs.1, {name}: does not name {missing}"


def test_nothing_is_documented_that_is_not_there() -> None:
    assert set(COMMAND_SECTIONS) <= set(commands())
    for name, (_, body) in COMMAND_SECTIONS.items():
        said = set(re.findall(r"^\.TP\n\.BI? (?:-\w \", \" )?(--[\w-]+)", body, re.MULTILINE))
        assert said <= set(options_of(commands()[name])), f"artfs.1, {name}"


@pytest.mark.parametrize("name", list(commands()))
def test_a_heading_names_the_arguments(name: str) -> None:
    heading, _ = COMMAND_SECTIONS[name]
    for parameter in commands()[name].params:
        if isinstance(parameter, click.Argument):
            metavar = parameter.metavar or (parameter.name or "").upper()
            for word in re.findall(r"[A-Z]+", metavar):
                assert word in re.findall(r"[A-Z]+", heading), f"{name}: {word} is not there"


def test_the_options_before_a_command_are_documented() -> None:
    body = sections(USER_PAGE, "SH")["OPTIONS"]
    missing = [option for option in options_of(cli) if not names_option(body, option)]
    assert not missing


def test_exit_statuses() -> None:
    body = sections(USER_PAGE, "SH")["EXIT STATUS"]
    rows = dict(re.findall(r"^(\d+) +(.*)$", body, re.MULTILINE))
    words = {
        exits.FAILED: "failed",
        exits.USAGE: "usage",
        exits.NOT_FOUND: "not found",
        exits.CONFLICT: "conflict",
        exits.DAMAGED: "damaged",
        exits.UNREACHABLE: "does not answer",
    }
    assert set(rows) == {"0", "130", *map(str, words)}
    for status, word in words.items():
        assert word in rows[str(status)]


def test_chunk_sizes() -> None:
    for name, size in (
        ("least", chunking.MIN), ("average", chunking.AVERAGE), ("greatest", chunking.MAX)
    ):  # fmt: skip
        assert re.search(rf"^{name} size +{size >> 10} KiB$", FORMAT["CHUNKS"], re.MULTILINE), name


def test_pack_layout() -> None:
    body = FORMAT["PACKS"]
    assert pack.HEADER.decode() in body
    assert pack.encode_index([], 8)[-8:].decode() in body
    assert f"the last {pack.TRAILER_SIZE} bytes" in body
    assert f"takes it to {pack.TARGET_SIZE >> 20} MiB" in body
    tables = re.split(r"^(header|index|trailer).*$", body, flags=re.MULTILINE)
    row = re.compile(r"^ +(\d+) +(\d+)   ", re.MULTILINE)
    sizes = {
        name: [(int(at), int(size)) for at, size in row.findall(rows)]
        for name, rows in zip(tables[1::2], tables[2::2], strict=True)
    }
    for name, rows in sizes.items():
        ends = [at + size for at, size in rows]
        assert [at for at, _ in rows] == [0, *ends[:-1]], f"{name}: gap or overlap"
    assert sum(size for _, size in sizes["header"]) == len(pack.HEADER)
    assert sum(size for _, size in sizes["trailer"]) == pack.TRAILER_SIZE
    one_more = len(pack.encode_index([(pack.BlobKind.CHUNK, _BLOB)], 9)) - pack.TRAILER_SIZE
    assert sum(size for _, size in sizes["index"]) == one_more
    assert f"{pack.BlobKind.CHUNK:d} chunk, {pack.BlobKind.NODE:d} node" in body


_BLOB = BlobRef(bytes(32), 1, bytes(16), 8, 1)


def test_where_nodes_end() -> None:
    body = FORMAT["TREES"]
    widths = re.search(r"w >= (\d+) and zeros\(d\) >= (\d+),   or   w >= (\d+)", body)
    assert widths is not None
    least, bits, greatest = map(int, widths.groups())
    ends, does_not = (1 << bits).to_bytes(32, "little"), (1 << bits - 1).to_bytes(32, "little")
    assert build.list_node_ends(least, ends)
    assert not build.list_node_ends(least - 1, ends)
    assert not build.list_node_ends(greatest - 1, does_not)
    assert build.list_node_ends(greatest, does_not)
    factor = re.search(r"zeros\(BLAKE3\(n\)\) >= (\d+) \* \(h \+ 1\)", body)
    assert factor is not None
    names = [b"%d" % i for i in range(20_000)]
    found = sum(build.dir_node_ends(0, name) for name in names)
    assert abs(found - len(names) / 2 ** int(factor[1])) < 100
    higher = sum(build.dir_node_ends(1, name) for name in names)
    assert higher < 20


def test_format_versions() -> None:
    assert f"This is format {record.FORMAT}." in FORMAT["VERSIONING"]
    assert f'"format": {record.FORMAT}' in FORMAT["RECORDS"]
    assert f"this artfs reads up to {record.FORMAT}" in FORMAT["VERSIONING"]
    assert f"[{node.VERSION}, TYPE, PACKS, ROWS]" in FORMAT["NODES"]


def test_when_packs_are_listed() -> None:
    assert f"{known.CHEAP_LISTING:,} packs" in FORMAT["LOCAL FILES"]


def test_record_fields() -> None:
    """Every field of the records is explained, or shown with `root.` before it."""
    body = FORMAT["RECORDS"]
    for kind in (
        record.StoreRecord, record.ArtifactRecord, record.VersionRecord, record.AliasRecord,
        record.LabelsRecord, record.LinkRecord, record.SourceRecord, record.PartRecord,
        record.FinishRecord,
        runs.RunRecord, runs.Input, runs.Output, runs.UseRecord,
    ):  # fmt: skip
        for field in kind.__struct_fields__:
            if field != "root":
                assert re.search(rf"^\.BR? .*\b{field}\b", body, re.MULTILINE), field
    for field in record.RootRecord.__struct_fields__:
        assert f"root.{field}" in body, field


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_formatted_without_warnings(page: Path) -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("needs groff")
    done = subprocess.run(
        [groff, "-man", "-ww", "-z", str(page)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_pages_named_are_there(page: Path) -> None:
    there = {f"{path.stem}({path.suffix[1:]})" for path in PAGES}
    named = re.findall(r"^\.BR (artfs[\w-]*) (\(\d\))", plain(page), re.MULTILINE)
    assert {name + section for name, section in named} <= there


def quoted() -> Iterator[tuple[str, str]]:
    """(test, the first paragraph of what it says it is about) of the tests of the semantics."""
    for path in sorted((ROOT / "tests/mounted").glob("test_semantics_*.py")):
        for item in ast.parse(path.read_text()).body:
            if isinstance(item, ast.FunctionDef) and item.name.startswith("test_"):
                said = (ast.get_docstring(item) or "").partition("\n\n")[0]
                yield f"{path.name}::{item.name}", " ".join(said.split())


def test_every_sentence_on_drafts_has_a_test_that_quotes_it() -> None:
    """A promise without a test is a wish, and a test of what is promised nowhere a riddle."""
    section = sections(plain(ROOT / "man/artfs-semantics.7"), "SH")["DRAFT MOUNTS"]
    promised = sentences(section)
    assert len(promised) > 50
    assert len(promised) == len(set(promised)), "a sentence is there twice"
    tested = dict(quoted())
    missing = [sentence for sentence in promised if sentence not in tested.values()]
    assert not missing, f"artfs-semantics.7 promises what no test quotes: {missing}"
    unknown = {test: said for test, said in tested.items() if said not in promised}
    assert not unknown, f"quoted, but not in artfs-semantics.7: {unknown}"
