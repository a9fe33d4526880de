"""Every sample of the W&B documents runs as it is, with `artfs` imported in the place of `wandb`.

They are taken from the documents where these lie beside the source tree, and from samples.md, which
has the same code, otherwise. What the documents say of them is checked in test_documents.py; here a
sample gets the files and names that it takes for granted, and has to run.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
import pytest

import artfs
from artfs import Artifact, Table
from artfs.sources.connecting import CheckedBackend
from tests.support.gcsserver import gcs_server, program
from tests.support.manual import ROOT
from tests.support.s3server import ACCESS_KEY, SECRET_KEY, S3Server
from tests.support.webserver import WebServer
from tests.unit.api.artifacts.contents import saved, stored

if TYPE_CHECKING:
    import httpcore

OWN = Path(__file__).parent / "samples.md"
DOCUMENTS = next(
    (found for above in ROOT.parents if (found := above / "shared/reference").is_dir()), None
)

_DECORATOR = "@contextlib.contextmanager\n"

#: What lies in the buckets that the documents refer to.
OBJECTS = {
    "my-bucket": ("model.h5", "checkpoints/model.h5", "images/cat.png", "images/dog.png"),
    "mybucket": ("prefix/one", "prefix/sub/two"),
}


def blocks(page: Path) -> Iterator[str]:
    """The fenced blocks of a page. A fence that opens one inside of another is passed over."""
    lines: list[str] | None = None
    for line in page.read_text().splitlines():
        if lines is None:
            lines = [] if line.startswith("```") else None
        elif line.strip() == "```":
            yield "\n".join(lines)
            lines = None
        elif not line.startswith("```"):
            lines.append(line)


def samples(page: Path) -> Iterator[str]:
    """The programs of a page, without comments and docstrings."""
    for code in blocks(page):
        with contextlib.suppress(SyntaxError):
            tree = ast.parse(code)
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
                    del node.body[0]
            if any(isinstance(node, ast.Call) for node in ast.walk(tree)):
                yield ast.unparse(tree)


def signatures(page: Path) -> Iterator[ast.FunctionDef]:
    """`name(argument: type = default) -> type`, as the reference writes methods."""
    for code in blocks(page):
        with contextlib.suppress(SyntaxError):
            [node] = ast.parse(f"def {code.removeprefix(_DECORATOR)}: ...").body
            assert isinstance(node, ast.FunctionDef)
            yield node


def rows(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Calls of tables, with the paths that an artifact has after them."""
    for call, cell in re.findall(
        r"^\| `(artifact\..*?)` *\| (.*?) *\|$", page.read_text(), re.MULTILINE
    ):
        yield call, re.findall(r"<code>(.*?)</code>", cell) or [cell.strip("`")]


@pytest.mark.skipif(DOCUMENTS is None, reason="the documents are not beside the source tree")
def test_nothing_of_the_documents_is_left_out() -> None:
    assert DOCUMENTS is not None
    pages = sorted(DOCUMENTS.glob("*.ja.md")) + sorted(DOCUMENTS.glob("*.ko.md"))
    assert len(pages) == 5
    assert {code for page in pages for code in samples(page)} == set(samples(OWN))
    assert {str(row) for page in pages for row in rows(page)} == set(map(str, rows(OWN)))
    said = {ast.unparse(node) for page in pages for node in signatures(page)}
    assert said == {ast.unparse(node) for node in signatures(OWN)}
    assert (len(list(samples(OWN))), len(list(rows(OWN))), len(said)) == (45, 11, 21)


@pytest.fixture
def _given(work: Path) -> None:
    """The files and the versions that the samples name."""
    for name in (
        "mnist/x", "my_dir/x", "path/to/file.txt", "path/file.txt", "hello_world.txt",
        "image1.png", "image2.png", "image3.png", "file_to_add.txt", "modified_file.txt",
    ):  # fmt: skip
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(name)
    saved("animals", cat="cat")
    saved("my_artifact", **{
        "file_to_remove.txt": "r", "deleted_file.txt": "d", "modified_file.txt": "old",
        "dir_to_remove__x": "x", "kept": "k",
    })  # fmt: skip
    artifact = Artifact("my_table", "dataset")
    artifact["my_table"] = Table(columns=["a"], data=[[1]])
    artifact.save()


def run_sample(code: str) -> dict[str, object]:
    """Run a sample; gives its names."""
    code = code.replace("import wandb", "import artfs as wandb").replace("<replace>", "replaced")
    format_file = Path("path/file.format")
    if "add_dir(local_path='path/file.format'" in code:
        format_file.mkdir()
        (format_file / "x").write_text("x")
    else:
        format_file.write_text("format")
    names: dict[str, object] = {"wandb": artfs}
    if re.search(r"wandb\.(log|use)_artifact", code) and "init()" not in code:
        artfs.init()  # "then call log_artifact": in a run, as everywhere in the documents
    given: dict[str, Callable[[], object]] = {
        "run": artfs.init,
        "i": lambda: 3,
        "name": lambda: "my_table",
        "artifact": lambda: artfs.Api().artifact("my_table") if ".get(" in code else filled(),
        "saved_artifact": lambda: artfs.Api().artifact("my_artifact"),
        "draft_artifact": lambda: artfs.Api().artifact("my_artifact").new_draft(),
    }
    for name in free_names(code):
        names[name] = given[name]()
    exec(compile(code, "sample", "exec"), names)
    artfs.finish()
    return names


@pytest.fixture
def places(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Sees to it that there is what a sample refers to, and gives it a URI where it has none."""

    def made(code: str) -> str:
        if "add_reference(uri='uri'" in code:
            web: WebServer = request.getfixturevalue("web")
            return code.replace("uri='uri'", f"uri='{web.write('anything', b'x')}'")
        for scheme, fixture in (("s3", "_s3"), ("gs", "_gs"), ("http", "_my_server")):
            if f"{scheme}://" in code:
                request.getfixturevalue(fixture)
        return code

    return made


@pytest.fixture
def _s3(s3: S3Server) -> None:
    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1")
    with contextlib.closing(session.client("s3", endpoint_url=s3.endpoint)) as client:
        for bucket, keys in OBJECTS.items():
            with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):  # by a test before
                client.create_bucket(Bucket=bucket)
            for key in keys:
                client.put_object(Bucket=bucket, Key=key, Body=key.encode())


@pytest.fixture
def _gs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    storage = pytest.importorskip("google.cloud.storage")
    if program() is None:
        pytest.skip("fake-gcs-server is not installed")
    with gcs_server(tmp_path) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        with contextlib.closing(storage.Client(project="tests")) as client:
            bucket = client.create_bucket("mybucket")
            for key in OBJECTS["mybucket"]:
                bucket.blob(key).upload_from_string(key.encode())
        yield


@pytest.fixture
def _my_server(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is called myserver.com, with port 80."""
    url = urlsplit(web.write("file.txt", b"text"))
    connect = CheckedBackend.connect_tcp

    def redirected(
        backend: CheckedBackend, host: str, port: int, timeout: float | None = None, **named: object
    ) -> httpcore.NetworkStream:
        assert (host, port) == ("myserver.com", 80)
        assert url.hostname is not None
        assert url.port is not None
        return connect(backend, url.hostname, url.port, timeout)

    monkeypatch.setattr(CheckedBackend, "connect_tcp", redirected)


def filled() -> Artifact:
    artifact = Artifact("sample", "dataset")
    artifact.add_file("model.h5", "here/already")
    return artifact


def free_names(code: str) -> list[str]:
    """Names that a sample takes for granted, in the order of their first use."""
    known = {"wandb", *dir(builtins)}
    found: list[str] = []
    names = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)]
    for node in sorted(names, key=lambda node: (node.lineno, isinstance(node.ctx, ast.Store))):
        if isinstance(node.ctx, ast.Load) and node.id not in known:
            found.append(node.id)
        known.add(node.id)
    return found


@pytest.mark.usefixtures("_given")
@pytest.mark.parametrize(
    "code", list(samples(OWN)), ids=lambda code: code.splitlines()[-1].strip()[:50]
)
def test_a_sample_runs(code: str, places: Callable[[str], str]) -> None:
    if "ray.init()" in code:
        pytest.skip("test_stores.py has Ray")
    names = run_sample(places(code))
    for name in ("table", "obj"):
        if name in names:
            assert isinstance(names[name], Table)
    for name in ("artifact", "draft_artifact"):
        artifact = names.get(name)
        if isinstance(artifact, Artifact) and re.search(rf"artifact\({name}\)|{name}.save", code):
            assert artifact.state == "COMMITTED"
            assert stored(artifact.qualified_name)


@pytest.mark.usefixtures("_given")
@pytest.mark.parametrize(("call", "paths"), list(rows(OWN)), ids=lambda value: str(value)[:60])
def test_the_paths_after_a_call(call: str, paths: list[str], places: Callable[[str], str]) -> None:
    artifact = Artifact("a", "t")
    result = eval(places(call), {"artifact": artifact})
    if hasattr(result, "__enter__"):
        with result:
            pass
    assert list(artifact.manifest.entries) == paths


@pytest.mark.parametrize("said", list(signatures(OWN)), ids=lambda node: node.name)
def test_a_method_takes_the_arguments(said: ast.FunctionDef) -> None:
    """By their names, in their order, with their defaults; more may follow."""
    method = Artifact if said.name == "Artifact" else getattr(Artifact, said.name)
    arguments = said.args.args
    found = list(inspect.signature(method).parameters.values())
    if method is not Artifact:
        found = found[1:]  # self
    assert [one.name for one in found[: len(arguments)]] == [one.arg for one in arguments]
    defaults = [None] * (len(arguments) - len(said.args.defaults)) + said.args.defaults
    for one, default in zip(found, defaults, strict=False):
        expected = inspect.Parameter.empty if default is None else ast.literal_eval(default)
        assert one.default == expected, one.name
    assert all(one.default != inspect.Parameter.empty for one in found[len(arguments) :])
