"""artfs lineage, runs, log and show: where versions came from, for people and programs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

import artfs
from artfs.api import current
from artfs.cli.layout import place
from artfs.repo.repository import Repository
from artfs.store.directory import DirectoryStore
from tests.unit.cli.conftest import Run

Cli = Callable[..., str]
Find = Callable[..., dict[str, Any]]


def made(name: str, text: str) -> artfs.Artifact:
    artifact = artfs.Artifact(name, "dataset")
    with artifact.new_file("file") as file:
        file.write(text)
    return artifact


@pytest.fixture(autouse=True)
def work(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    Repository.open(str(home / "store"), home / "cache", create=True).close()
    monkeypatch.chdir(tmp_path)
    yield
    for run in current.own_runs():
        run.finish()


def execute(name: str, inputs: list[str], outputs: dict[str, str], status: int = 0) -> None:
    run_ = artfs.init(id=name, name=f'the "{name}" run', job_type="work")
    for ref in inputs:
        run_.use_artifact(ref)
    for output, text in outputs.items():
        run_.log_artifact(made(output, text))
    run_.finish(status)


@pytest.fixture
def cli(run: Run) -> Cli:
    """What a command of artfs prints."""
    return lambda *arguments: run(*arguments).text


@pytest.fixture
def lineage(run: Run) -> Find:
    """The document of a lineage."""

    def find(ref: str, *options: str) -> dict[str, Any]:
        found: dict[str, Any] = run("lineage", ref, "--format", "json", *options).document
        return found

    return find


def edges(found: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Of the project `default/default`, whose name is left out."""
    short = {
        text: text.replace("default/default/", "") for e in found["edges"] for text in e.values()
    }
    return {(short[e["from"]], e["kind"], short[e["to"]]) for e in found["edges"]}


@pytest.fixture
def history(cli: Cli) -> None:
    """raw -> clean -> animals -> train -> model; animals is edited by hand to v1 meanwhile."""
    execute("collect", [], {"raw": "1"})
    execute("clean", ["raw"], {"animals": "2"})
    Path("more").write_text("3")
    cli("put", "animals", "more", "--base", "animals")
    execute("train", ["animals:v0"], {"model": "4", "notes": "5"})
    execute("fail", ["animals:v1"], {}, status=3)


@pytest.mark.usefixtures("history")
def test_what_came_before_and_after(lineage: Find) -> None:
    found = lineage("animals:v0")
    assert edges(found) == {
        ("collect", "made", "raw:v0"), ("raw:v0", "used", "clean"),
        ("clean", "made", "animals:v0"), ("animals:v0", "base", "animals:v1"),
        ("animals:v0", "used", "train"), ("train", "made", "model:v0"),
        ("train", "made", "notes:v0"), ("animals:v1", "used", "fail"),
    }  # fmt: skip
    assert found["start"] == "default/default/animals:v0"
    assert {one["run"]: one["state"] for one in found["runs"]} == {
        f"default/default/{name}": "failed" if name == "fail" else "finished"
        for name in ("collect", "clean", "train", "fail")
    }
    assert not found["cut"]
    assert ("clean", "made", "animals:v0") in edges(lineage("animals:v1"))
    assert {e[0] for e in edges(lineage("model"))} == {
        "collect", "raw:v0", "clean", "animals:v0", "train"
    }  # fmt: skip


@pytest.mark.usefixtures("history")
def test_bounds(lineage: Find) -> None:
    found = lineage("animals:v0", "--depth", "0")
    assert (len(found["versions"]), found["runs"], found["cut"]) == (1, [], True)
    found = lineage("raw", "--depth", "1")
    assert edges(found) == {
        ("collect", "made", "raw:v0"), ("raw:v0", "used", "clean"), ("clean", "made", "animals:v0"),
    }  # fmt: skip
    assert found["cut"]
    found = lineage("animals:v0", "--limit", "3")
    assert len(found["versions"]) + len(found["runs"]) == 3
    assert found["cut"]


def test_cycles_are_met_once(cli: Cli, lineage: Find) -> None:
    """A run that uses what it has made, and one that logs what was there."""
    with artfs.init(id="self") as run_:
        run_.use_artifact(made("data", "1"))
    execute("same", ["data"], {"data": "1", "other": "2"})
    execute("again", ["data"], {"other": "2"})
    found = edges(lineage("data"))
    assert found == {
        ("self", "made", "data:v0"), ("data:v0", "used", "self"), ("data:v0", "used", "same"),
        ("same", "made", "other:v0"), ("data:v0", "used", "again"),
        ("again", "unchanged", "other:v0"),
    }  # fmt: skip
    for form in ("text", "svg", "dot", "mermaid"):
        assert "data:v0" in cli("lineage", "data", "--format", form)


@pytest.mark.usefixtures("history")
def test_a_version_that_was_deleted_leads_on(cli: Cli, lineage: Find) -> None:
    artfs.Api().artifact("animals:v0").delete()
    found = lineage("model")
    assert ("collect", "made", "raw:v0") in edges(found)
    assert [v["version"] for v in found["versions"] if v["deleted"]] == [
        "default/default/animals:v0"
    ]
    assert "animals:v0  deleted" in cli("lineage", "model")


def test_other_projects_and_links(cli: Cli, lineage: Find) -> None:
    with artfs.init(project="far") as run_:
        run_.log_artifact(made("raw", "1"))
    execute("near", ["far/raw"], {"data": "2"})
    artfs.Api().artifact("data").link("shelf")
    assert lineage("shelf")["start"] == "default/default/data:v0"
    assert "\n   └─ far/raw:v0  " in cli("lineage", "shelf")


def test_all_that_made_a_version_together(cli: Cli, lineage: Find) -> None:
    execute("base", [], {"data": "1"})
    for number in (1, 2):
        with artfs.init(id=f"writer{number}", name=f"w{number}", group="g") as run_:
            run_.use_artifact("data")
            part = artfs.Artifact("all", "dataset")
            with part.new_file(f"part{number}") as file:
                file.write(str(number))
            run_.upsert_artifact(part)
    with artfs.init(id="last", name="the last", group="g") as run_:
        done = run_.finish_artifact(made("all", "end"))
    assert {edge for edge in edges(lineage("all")) if edge[1] == "made"} == {
        ("writer1", "made", "all:v0"), ("writer2", "made", "all:v0"), ("last", "made", "all:v0"),
        ("base", "made", "data:v0"),
    }  # fmt: skip
    maker = done.logged_by()
    assert maker is not None
    assert maker.id == "last"
    assert json.loads(cli("--json", "show", "all"))["contributors"] == [
        "default/default/writer1", "default/default/writer2"
    ]  # fmt: skip
    text = cli("lineage", "all").partition("led to")[0]
    assert re.findall("^.─ run (.*?)  ", text, re.MULTILINE) == ["the last", "w1", "w2"]


@pytest.mark.usefixtures("history")
def test_forms(cli: Cli) -> None:
    text = re.sub(r"  ?\S*T\S*Z", "", cli("lineage", "animals:v0"))
    assert text == (
        "animals:v0\ncame from\n"
        '└─ run the "clean" run  work, finished\n   └─ raw:v0\n'
        '      └─ run the "collect" run  work, finished\n'
        "led to\n"
        '├─ run the "train" run  work, finished\n│  ├─ model:v0\n│  └─ notes:v0\n'
        '└─ animals:v1\n   └─ run the "fail" run  work, failed\n'
    )
    dot = cli("lineage", "raw", "--format", "dot")
    assert r'label="the \"clean\" run\nwork, finished ' in dot
    assert re.search(r"\n  n\d+ -> n\d+ \[style=dashed\];\n", dot)
    mermaid = cli("lineage", "raw", "--format", "mermaid")
    assert '(["the #quot;clean#quot; run<br/>work, finished ' in mermaid
    picture = ElementTree.fromstring(cli("lineage", "raw", "--format", "svg"))
    texts = [one.text for one in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"raw:v0", 'the "clean" run', "animals:v1"} <= set(texts)


ODD = 'a\x01<b>&amp;"\\`#35;\n\x1b[31m]})\ufffe日本\udcff'


def test_names_of_runs_are_only_text(cli: Cli) -> None:
    """They steer no terminal, and every form can be read by its programs."""
    with artfs.init(id="odd", name=ODD, job_type="jo\nb<\x02", group="g\udcff") as run_:
        run_.log_artifact(made("data", "1"))
    shown = 'a\ufffd<b>&amp;"\\`#35; \ufffd[31m]})\ufffd日本?'
    lines = cli("lineage", "data").splitlines()
    assert lines[2].startswith(f"└─ run {shown}  jo b<\ufffd, finished ")
    assert len(lines) == 3
    [line] = cli("runs").splitlines()
    assert line.split("\t")[3::2] == ["jo b<\ufffd", shown]
    assert f"name: {shown}\nstate: " in cli("runs", "odd")
    assert r'label="a�<b>&amp;amp;\"\\`#35; �' in cli("lineage", "data", "--format", "dot")
    label = "a�#lt;b#gt;#amp;amp;#quot;#92;#96;#35;35; �"
    assert f'(["{label}' in cli("lineage", "data", "--format", "mermaid")
    picture = ElementTree.fromstring(cli("lineage", "data", "--format", "svg"))
    assert shown in [one.text for one in picture.iter("{http://www.w3.org/2000/svg}text")]


def test_boxes_hold_what_is_in_them(cli: Cli) -> None:
    """A character of Japanese is as wide as it is high: 14 pixels."""
    with artfs.init(name="日本語の前処理をする長い名前の実行") as run_:
        run_.log_artifact(made("data", "1"))
    picture = ElementTree.fromstring(cli("lineage", "data", "--format", "svg"))
    [box] = picture.iterfind(".//{*}g[@class='run']/{*}rect")
    assert float(box.get("width", 0)) > 17 * 14


def test_each_record_is_read_once(cli: Cli, lineage: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each version looks at those after it: of a long chain that would be all of them each time."""
    cli("put", "data", "/etc/hostname")
    for number in range(1, 6):
        cli("put", "data", "/etc/hostname", "--base", "data", "--at", str(number))
    read: list[str] = []
    real = DirectoryStore.get

    def get(self: DirectoryStore, key: str) -> bytes:
        read.append(key)
        return real(self, key)

    monkeypatch.setattr(DirectoryStore, "get", get)
    assert len(lineage("data:v0")["edges"]) == 5
    records = [key for key in read if "/versions/" in key]
    assert len(set(records)) == 6
    assert len(records) == 7  # once more, to know what the start is


@pytest.mark.usefixtures("history")
def test_runs_log_and_show(cli: Cli) -> None:
    lines = cli("runs").splitlines()
    assert {line.split("\t")[0] for line in lines} == {"collect", "clean", "train", "fail"}
    shown = cli("runs", "clean")
    assert "state: finished" in shown
    assert "used: default/default/raw:v0" in shown
    assert "made: default/default/animals:v0" in shown
    assert "by run clean" in cli("log", "animals").splitlines()[1]
    found = json.loads(cli("--json", "show", "animals:v0"))
    assert (found["run"], found["used_by"]) == ("default/default/clean", ["default/default/train"])


NODES = st.integers(0, 12)


PAIRS = st.tuples(NODES, NODES).filter(lambda pair: pair[0] != pair[1])


@given(st.lists(PAIRS, min_size=1, max_size=30), st.sampled_from([40.0, 900.0]))
def test_boxes_do_not_overlap_and_lines_lead_right(
    pairs: list[tuple[int, int]], wide: float
) -> None:
    sizes = {node: (wide + node, 20.0) for pair in pairs for node in pair}
    placed = place(sizes, pairs)
    assert placed.at.keys() == sizes.keys()
    assert placed.width <= 3000
    boxes = list(placed.at.items())
    for i, (one, (x, y)) in enumerate(boxes):
        assert 0 <= x <= placed.width
        assert -1e-6 <= y <= placed.height + 1e-6
        for other, (other_x, other_y) in boxes[i + 1 :]:
            apart_x = abs(x - other_x) - (sizes[one][0] + sizes[other][0]) / 2
            apart_y = abs(y - other_y) - 20
            assert apart_x > -1e-6 or apart_y > -1e-6
    for source, target in pairs:
        if source < target and all(a < b for a, b in pairs):  # then there is no cycle
            (x, y), (to_x, to_y) = placed.at[source], placed.at[target]
            assert x < to_x or (wide == 900 and y + 20 < to_y)  # in a row, or in the next one
        line = placed.lines[source, target]
        assert (line[0], line[-1]) == (placed.at[source], placed.at[target])
