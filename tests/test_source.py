"""The rules of the source tree that no linter knows, each with its reason in the failure text."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "artfs"
MODULES = sorted(PACKAGE.rglob("*.py"))
ALL_SOURCES = [
    *MODULES,
    *sorted((ROOT / "tests").rglob("*.py")),
    *sorted(ROOT.glob("scripts/**/*.py")),
]

_BOTTOM = {"types", "errors"}
_REPO = {"repo", "sources", "store", "format"} | _BOTTOM
# What each part of artfs may import, beside itself; "" is artfs/__init__.py, the public face.
MAY_IMPORT = {
    "errors": set(),
    "types": {"errors"},
    "settings": {"store"} | _BOTTOM,
    "format": _BOTTOM,
    "store": _BOTTOM,
    "sources": {"store", "format"} | _BOTTOM,
    "repo": _REPO,
    "aio": _REPO,
    "vfs": _REPO | {"aio"},
    "fuse": _REPO | {"aio", "vfs"},
    "api": _REPO | {"aio", "vfs", "fuse", "settings"},
    "cli": _REPO | {"aio", "vfs", "fuse", "api", "settings", ""},
    "__main__": {"cli"},
    "data_types": {"api"},
    "": {"api", "data_types"} | _BOTTOM,
}
WHY_LAYERS = {
    "format": "values <-> bytes only, so that it can be tested with nothing but values",
    "store": "bytes by key; a store that knew of artifacts could not be swapped for another",
    "sources": "URIs and what is recorded of them; what versions make of that is repo's",
    "repo": "plain synchronous Python, used by API, CLI and mount alike",
    "aio": "the bridge from trio to repo; what it serves must not matter to it",
    "vfs": "what the filesystem looks like, testable without a mount",
    "fuse": "the protocol adapter; above it are only the command line and the API",
    "api": "works on machines without FUSE, and inside programs that have no command line",
}

# Where each package, or each function of os, may be used: path prefixes below artfs/.
THIRD_PARTY = {
    "pyfuse3": (["fuse/"], "vfs must be testable without FUSE, and one place converts errors"),
    "boto3": (["store/s3/"], "every other module works the same on a directory"),
    "botocore": (
        ["store/s3/", "sources/s3.py"],
        "its errors become ours in the one package that knows them",
    ),
    "click": (["cli/"], "the API must not print, parse or exit"),
    "rich": (["cli/"], "progress and colour are the terminal's business"),
    "fsspec": (["api/filesystem.py"], "it is optional; everything else works without"),
    "trio": (
        ["fuse/", "vfs/", "aio/"],
        "store and repo are synchronous: used as they are by API and CLI",
    ),
    "httpx": (["sources/http.py"], "its errors become ours in the one module that knows them"),
    "httpcore": (["sources/http.py", "sources/connecting.py"], "the same"),
    "google": (["sources/gs.py"], "it is optional; everything else works without"),
    "requests": (["sources/gs.py"], "it is google.cloud.storage's, whose errors leave it"),
    "cachetools": (
        ["aio/", "vfs/", "repo/", "sources/"],
        "caches belong where their bound is known",
    ),
}
ENVIRONMENT = (["cli/", "settings.py"], "a function whose result depends on the environment "
               "surprises its caller; read it at the top and pass values down")  # fmt: skip
BAD_NAMES = re.compile(r"(utils?|helpers?|managers?|misc|common)\Z")


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def part_of(path: Path) -> str:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if part == "__init__" else part


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything imported; also below TYPE_CHECKING and in functions."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write artfs.…"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def imported_part(dotted: str) -> str:
    """The part of artfs in `artfs.PART.…`; `from artfs import Artifact` is of the public face."""
    part = dotted.partition(".")[2].partition(".")[0]
    return part if part in MAY_IMPORT else ""


def test_the_source_was_found() -> None:
    assert PACKAGE / "errors.py" in MODULES


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down_the_layers(path: Path) -> None:
    part = part_of(path)
    assert part in MAY_IMPORT, f"{name_of(path)}: say in MAY_IMPORT to which layer '{part}' belongs"
    why = WHY_LAYERS.get(part, "imports go one way, so that every layer works without those above")
    for line, dotted in imports(path):
        if dotted.split(".")[0] != "artfs":
            continue
        target = imported_part(dotted)
        where = f"{name_of(path)}:{line} imports {dotted}"
        assert target == part or target in MAY_IMPORT[part], f"{where}. {part}: {why}"
        if part in ("cli", "api") and target == "fuse":
            module = ".".join(dotted.split(".")[:3])
            assert module in ("artfs.fuse.mount", "artfs.fuse.mounted"), (
                f"{where}. Command line and API serve mounts through artfs.fuse.mount, and start, "
                "ask and end them through artfs.fuse.mounted; what is behind these is between the "
                "adapter and the kernel"
            )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_third_party_packages_stay_in_their_place(path: Path) -> None:
    for line, dotted in imports(path):
        places, why = THIRD_PARTY.get(dotted.split(".")[0], ([""], ""))
        allowed = any(name_of(path).startswith(place) for place in places)
        assert allowed, f"{name_of(path)}:{line} imports {dotted}, allowed in {places}: {why}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_top_reads_the_environment(path: Path) -> None:
    places, why = ENVIRONMENT
    if any(name_of(path).startswith(place) for place in places):
        return
    names = {"environ", "environb", "getenv", "getenvb"}
    used = [line for line, dotted in imports(path) if dotted in {f"os.{name}" for name in names}]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used += [node.lineno] if node.value.id == "os" and node.attr in names else []
    assert not used, f"{name_of(path)}: environment read in lines {used}: {why}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_and_functions_are_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 500, f"{name_of(path)}: over 500 lines holds more than one subject"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1 - docstring_lines(node)
            assert lines <= 60, (
                f"{name_of(path)}:{node.lineno} {node.name} has {lines} lines beside its "
                "docstring; over 60 nobody sees it whole"
            )


def docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    if ast.get_docstring(node) is None:
        return 0
    return (node.body[0].end_lineno or 0) - node.body[0].lineno + 1


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_are_called_after_what_they_hold(path: Path) -> None:
    names = path.relative_to(PACKAGE).with_suffix("").parts
    bad = [name for name in names if BAD_NAMES.search(name.lower())]
    assert not bad, f"{name_of(path)}: '{bad[0]}' says nothing, so everything ends up in it"


@pytest.mark.parametrize("path", ALL_SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_silenced_check_has_a_reason(path: Path) -> None:
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.COMMENT and re.search(r"#\s*(type: ignore|noqa)", token.string):
            reason = token.string.split("#")[-1].strip()
            assert not re.match(r"type: ignore|noqa|$", reason), (
                f"{path}:{token.start[0]}: add '  # WHY' after it; a check that is silenced "
                "without a reason is never switched on again"
            )
