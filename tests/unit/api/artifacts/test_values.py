"""Values in artifacts: added, logged, got again, from this version and from others."""

from __future__ import annotations

import copy
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

import artfs
from artfs import Artifact, Audio, Classes, Html, Image, JoinedTable, PartitionedTable, Table
from artfs.errors import ArtifactFinalizedError, ArtifactNotLoggedError, Damaged, InvalidValue
from artfs.repo.repository import Repository
from tests.unit.api.artifacts.contents import made, saved, stored, versions

np = pytest.importorskip("numpy")
pytest.importorskip("PIL.Image")

TONE = Path(__file__).parent.parent / "values/tone.wav"


def table(*rows: list[object]) -> Table:
    return Table(["a", "b"], list(rows) or [[1, "x"], [2, "y"]])


def picture(shade: int = 7) -> Image:
    return Image(np.full((2, 3, 3), shade, np.uint8), caption=f"shade {shade}")


def logged(**values: artfs.data_types.WBValue) -> Artifact:
    artifact = Artifact("data", "dataset")
    for name, value in values.items():
        artifact[name] = value
    artifact.save()
    return artifact


def files(ref: str = "data") -> list[str]:
    return [path for path, content in stored(ref).items() if content is not None]


def test_a_value_is_a_file_and_got_again() -> None:
    artifact = Artifact("data", "dataset")
    entry = artifact.add(table(), "in/my_table")
    assert (entry.path, list(artifact.manifest.entries)) == ("in/my_table.table.json",) * 1 + (
        ["in/my_table.table.json"],
    )
    artifact.save()
    for name in ("in/my_table", "in/my_table.table.json", "/in//my_table"):
        assert artifact.get(name) == artifact[name] == table()
    assert artfs.Api().artifact("data").get("in/my_table") == table()
    assert artifact.get("my_table") is None
    assert artifact["in"] is None


def test_what_is_not_logged_gives_no_values() -> None:
    artifact = Artifact("data", "dataset")
    artifact["t"] = table()
    with pytest.raises(ArtifactNotLoggedError, match="artifact 'data': is not logged"):
        artifact.get("t")
    with pytest.raises(ArtifactNotLoggedError):
        artifact["t"]


def test_a_finalized_artifact_takes_no_values() -> None:
    artifact = logged(t=table())
    with pytest.raises(ArtifactFinalizedError, match="data:v0"):
        artifact.add(table(), "u")
    with pytest.raises(ArtifactFinalizedError):
        artifact["u"] = table()


@pytest.mark.parametrize(
    ("add", "error", "says"),
    [
        (lambda a: a.add("text", "x"), InvalidValue, "type str: is no value, such as a Table"),
        (lambda a: a.add(table(), ""), InvalidValue, "path '': names no entry"),
        (lambda a: a.add(table(), "../x"), InvalidValue, "path '../x': leads out"),
        (lambda a: a.add(table(), "file/x"), InvalidValue, "'file': is a file in this artifact"),
        (
            lambda a: a.add(table(), "dir"),
            InvalidValue,
            "'dir.table.json': is a directory in this artifact",
        ),
        (
            lambda a: a.add(JoinedTable("no.table.json", table(), "a"), "j"),
            ValueError,
            "no.table.json is not in the artifact",
        ),
    ],
)
def test_a_value_that_cannot_be_added_leaves_nothing(
    add: Callable[[Artifact], object], error: type[Exception], says: str
) -> None:
    artifact = made(**{"file": "x", "dir.table.json__x": "x"})
    before = artifact.digest
    with pytest.raises(error, match=says):
        add(artifact)
    assert artifact.digest == before


def test_media_that_fail_late_leave_nothing() -> None:
    cells = Table(["i"], [[picture()], [Audio(str(TONE))]], allow_mixed_types=True)
    artifact = made(media__audio="in the way")
    with pytest.raises(InvalidValue, match="'media/audio': is a file"):
        artifact.add(cells, "t")
    assert list(artifact.manifest.entries) == ["media/audio"]


def test_media_are_shared_between_values() -> None:
    artifact = logged(
        one=Table(["i"], [[picture()]]), two=Table(["i"], [[picture()], [picture(9)]])
    )
    assert len([name for name in files() if name.startswith("media/images/")]) == 2
    one, two = artifact["one"], artifact["two"]
    assert isinstance(one, Table)
    assert isinstance(two, Table)
    assert one.data[0][0].path == two.data[0][0].path
    assert (np.asarray(two.data[1][0].image) == 9).all()


def test_a_file_that_was_added_is_the_medium() -> None:
    Path("tone.wav").write_bytes(TONE.read_bytes())
    artifact = Artifact("data", "dataset")
    artifact.add_file("tone.wav", "sounds/a.wav")
    artifact["s"] = Audio("tone.wav")
    assert sorted(artifact.manifest.entries) == ["s.audio-file.json", "sounds/a.wav"]
    assert artifact.get_added_local_path_name("tone.wav") == "sounds/a.wav"
    Path("tone.wav").write_bytes(TONE.read_bytes()[:-2])  # another one since
    artifact["other"] = Audio("tone.wav")
    [name] = [n for n in artifact.manifest.entries if n.startswith("media/audio/")]
    assert artifact.get_added_local_path_name("tone.wav") == name


def test_media_are_fetched_when_they_are_asked_for() -> None:
    cells = Table(["i"], [[picture(i)] for i in range(3)])
    artifact = logged(t=cells)
    fetched = artfs.Api().artifact("data")["t"]
    assert isinstance(fetched, Table)
    path = fetched.data[1][0].path
    root = path.parents[2]
    assert [p for p in root.rglob("*") if p.is_file()] == [path]
    assert fetched.data[1][0].path.read_bytes() == stored("data")[str(path.relative_to(root))]
    assert not Path("artifacts").exists()
    del fetched, artifact
    assert not root.exists()


def test_a_value_goes_on_into_the_next_version() -> None:
    artifact = logged(t=Table(["i"], [[picture()]]))
    draft = artfs.Api().artifact("data").new_draft()
    grown = artifact["t"]
    assert isinstance(grown, Table)
    grown.add_data(picture(9))
    draft["t"] = grown
    draft.save()
    source = artifact._values_of
    assert source is not None
    assert not source._fetched  # the picture that stays was not read
    assert draft.version == "v1"
    assert draft["t"] == Table(["i"], [[picture()], [picture(9)]])
    assert len(files("data:v1")) == 3
    assert artifact["t"] == Table(["i"], [[picture()]])


def test_a_value_goes_into_another_artifact() -> None:
    first = logged(t=Table(["i"], [[picture()]]))
    other = Artifact("other", "dataset")
    value = first["t"]
    assert value is not None
    other["copy"] = value
    other.save()
    assert files("other") == ["copy.table.json", *[f for f in files() if f.startswith("media")]]
    source = first._values_of
    assert source is not None
    assert not source._fetched  # the picture is where it was
    assert other["copy"] == value


@pytest.fixture
def other_store(work: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes another store the one of the environment."""
    Repository.open(str(work / "other"), work / "cache", create=True).close()
    return lambda: monkeypatch.setenv("ARTFS_STORE", str(work / "other"))


def test_a_value_goes_into_another_store(other_store: Callable[[], None]) -> None:
    value = logged(t=Table(["i"], [[picture()]]))["t"]
    assert value is not None
    other_store()
    assert logged(copy=value)["copy"] == value


def test_media_that_are_references_stay_so() -> None:
    first = logged(t=Table(["i"], [[picture()]]))
    [name] = [name for name in files() if name.startswith("media/")]
    other = Artifact("other", "dataset")
    other.add_reference(first.get_path(name), "media/images/elsewhere.png")
    with artfs.open("data", "t.table.json") as file:
        document = json.load(file)
    document["data"][0][0]["path"] = "media/images/elsewhere.png"
    with other.new_file("t.table.json") as written:
        json.dump(document, written)
    other.save()
    value = other["t"]
    assert value is not None
    third = logged(t=value)
    assert third.get_path("media/images/elsewhere.png").ref_target().endswith(f"data:v0/{name}")
    assert third["t"] == first["t"]


def test_a_value_gives_way_to_the_next_of_its_name() -> None:
    cells = table()
    artifact = Artifact("data", "dataset")
    artifact["t"] = cells
    cells.add_data(3, "z")
    artifact["t"] = cells
    artifact.add(cells, "u", overwrite=True)
    artifact.save()
    assert artifact["t"] == artifact["u"] == cells
    assert sorted(files()) == ["t.table.json", "u.table.json"]


def test_joined_tables_use_what_is_there() -> None:
    one, two = table(), Table(["b", "c"], [["x", 1.5]])
    artifact = Artifact("data", "dataset")
    artifact["in/one"] = one
    artifact["j"] = JoinedTable(one, two, ["b", "b"])
    artifact["k"] = JoinedTable("in/one.table.json", two, "b")
    artifact.save()
    assert len(files()) == 4
    joined = artifact["j"]
    assert isinstance(joined, JoinedTable)
    assert (joined.table1, joined.table2) == (one, two)
    assert artifact["k"] == JoinedTable(one, two, "b")


def test_joined_tables_refer_to_those_of_another_artifact(other_store: Callable[[], None]) -> None:
    first = logged(one=Table(["a", "i"], [[1, picture()]]), two=table())
    one, two = (first.get_path(f"{name}.table.json") for name in ("one", "two"))
    other = Artifact("other", "dataset")
    other["j"] = JoinedTable(one, two, "a")
    other.save()
    assert [e.ref is not None for e in other.manifest] == [True, True, False]
    joined = artfs.Api().artifact("other")["j"]
    assert isinstance(joined, JoinedTable)
    assert (joined.table1, joined.table2) == (first["one"], first["two"])
    other_store()
    with pytest.raises(InvalidValue, match="is of an artifact in another store"):
        Artifact("third", "dataset")["j"] = JoinedTable(one, two, "a")


def test_a_table_that_was_removed_is_written_again() -> None:
    one = table()
    artifact = Artifact("data", "dataset")
    artifact["one"] = one
    artifact.remove("one.table.json")
    artifact["j"] = JoinedTable(one, one, "a")
    artifact.save()
    assert artifact["j"] == JoinedTable(one, one, "a")


def test_partitioned_tables_are_read_part_by_part() -> None:
    artifact = Artifact("data", "dataset")
    artifact["whole"] = PartitionedTable("parts")
    for i in range(3):
        artifact.add(table([i, str(i)]), f"parts/{i}")
    with artifact.new_file("parts/readme.txt") as file:
        file.write("no part")
    artifact.save()
    whole = artifact["whole"]
    assert isinstance(whole, PartitionedTable)
    assert list(whole.iterrows()) == [(i, [i, str(i)]) for i in range(3)]


def test_a_run_gets_values_of_what_it_uses() -> None:
    logged(t=table(), u=table([5, "u"]))
    with artfs.init() as run:
        assert run.get("t") is None
        run.use_artifact("data")
        assert run.get("t") == table()
        logged(t=table([9, "new"])).wait()
        run.use_artifact("data:latest")
        assert (run.get("t"), run.get("u")) == (table([9, "new"]), table([5, "u"]))


def test_the_same_values_make_no_new_version() -> None:
    page = Html("<p>x</p>")
    for _ in range(2):
        logged(t=Table(["i"], [[picture()]]), h=page, c=Classes([{"id": 0, "name": "sky"}]))
    assert versions("data") == [0]


@pytest.mark.parametrize(
    "where", ["../../etc/passwd", "/etc/passwd", "no/such", 7, "a\0b", "\ud800"]
)
def test_what_a_file_says_is_not_trusted(where: object) -> None:
    document = {"_type": "html-file", "path": where, "sha256": "0" * 64}
    artifact = saved(**{"x.html-file.json": json.dumps(document)})
    with pytest.raises((Damaged, artfs.ArtfsError)) as raised:
        _ = artifact["x"].path  # type: ignore[union-attr]  # it is there
    assert "data:v0" in str(raised.value) or "x.html-file.json" in str(raised.value)


def test_values_are_copied_and_pickled() -> None:
    keys = Table(["k"], [["x"]])
    keys.set_pk("k")
    cells = Table(["i", "m", "k", "r"])
    masked = Image(np.zeros((2, 2)), masks={"m": {"mask_data": np.ones((2, 2), np.uint8)}})
    [index] = keys.get_index()
    cells.add_data(picture(), masked, keys.data[0][0], index)
    got = logged(t=cells)["t"]
    for value in (cells, got):
        assert isinstance(value, Table)
        for again in (copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
            assert again.data == value.data
            assert again.data[0][1].masks["m"] == masked.masks["m"]
            assert again.data[0][1].classes == masked.classes
            assert again.data[0][3].get_row() == {"k": "x"}
            assert again.data[0][2].column == "k"
    first = picture(3)
    copies = [copy.deepcopy(first), pickle.loads(pickle.dumps(first))]
    del first
    assert copies[0] == copies[1] == picture(3)  # each has a file of its own
    assert [one.path.exists() for one in copies] == [True, True]


def test_a_child_process_leaves_the_files() -> None:
    page = logged(h=Html("<p>x</p>"))["h"]
    assert isinstance(page, Html)
    path = page.path
    child = os.fork()
    if child == 0:
        del page
        os._exit(0)
    os.waitpid(child, 0)
    assert path.exists()
