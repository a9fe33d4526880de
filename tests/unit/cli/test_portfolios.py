"""tag, alias, link, unlink and rm: what they print, refuse, and leave behind."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

import artfs
from tests.unit.cli.conftest import Run
from tests.unit.cli.test_errors import one_line


@pytest.fixture
def three(run: Run, animals: Path) -> Path:
    """animals:v0 to v2; v1 has the alias `best`."""
    for n in (1, 2):
        (animals / "a.txt").write_text(f"{n}")
        run("put", "animals", animals, *(["--alias", "best"] if n == 1 else []))
    return animals


def versions(run: Run, name: str = "animals") -> list[str]:
    return [row["version"] for row in run("--json", "ls", name).document]


def test_tags(run: Run, three: Path) -> None:
    assert run("tag", "animals:v0").stdout == b""
    assert run("tag", "animals:v0", "good", "two words", "good").stdout == b"good\ntwo words\n"
    assert run("--json", "tag", "animals:v0", "good", "raw").document == [
        "good",
        "two words",
        "raw",
    ]
    assert run("tag", "animals:v0", "--delete", "good", "raw").stdout == b"two words\n"
    assert run("tag", "animals:v1").stdout == b""
    assert run("--json", "show", "animals:v0").document["tags"] == ["two words"]
    assert "tags: two words\n" in run("show", "animals:v0").text
    assert "[two words]" in run("log", "animals").text.splitlines()[-1]
    one_line(run, 3, "tag", "animals:v0", "--delete", "good", line="animals:v0 does not have it")
    one_line(run, 2, "tag", "animals:v0", "--delete", line="--delete takes the tags")
    one_line(run, 2, "tag", "animals:v0", "a/b", line="tag 'a/b': may hold only words")
    one_line(run, 3, "tag", "animals:v9", "a", line="animals:v9: no such version")


def test_aliases_are_removed_where_they_are_expected(run: Run, three: Path) -> None:
    one_line(
        run, 4, "alias", "--delete", "animals:best", "--expect", "v0", line="is at v1, not at v0"
    )
    assert run("alias", "--delete", "animals:best", "--expect", "v1").stdout == b""
    one_line(run, 3, "alias", "--delete", "animals:best", line="is not set")
    one_line(run, 2, "alias", "--delete", "animals:v1", line="how a version is named")
    one_line(run, 2, "alias", "--delete", "animals", line="names no alias")
    one_line(run, 2, "alias", "animals", "--expect", "v1", line="--expect goes with aliases")


def test_no_alias_is_set_where_one_cannot_be(run: Run, three: Path) -> None:
    one_line(run, 2, "alias", "animals", "good", "v7", line="alias 'v7': is how a version is named")
    assert run("alias", "animals").stdout == b"best\tv1\n"
    one_line(run, 2, "alias", "animals", "a\nb\x1b[2J", line=r"alias 'a\nb\x1b[2J': may not hold")


def test_versions_that_are_deleted_are_not_the_newest(run: Run, three: Path) -> None:
    run("rm", "animals:v2")
    assert run("ls").stdout == b"animals\tdataset\tv1\n"
    run("rm", "--force", "animals:v0", "animals:v1")
    assert run("ls").stdout == b"animals\tdataset\t-\n"
    assert run("--json", "ls").document[0]["newest"] is None


def test_a_portfolio(run: Run, three: Path, tmp_path: Path) -> None:
    done = run("link", "animals:best", "models/pets:top", "--alias", "new")
    assert done.text == "models/pets:v0\n"
    done = run("--json", "link", "animals:v0", "models/pets")
    assert done.document == {
        "portfolio": "models/pets", "version": "v1", "source": "animals:v0"
    }  # fmt: skip
    run("link", "animals:best", "models/pets")
    assert run("--project", "models", "ls").stdout == b"pets\tdataset\tv1\tportfolio\n"
    assert run("ls", "models/pets").stdout == b"v0\tnew top\nv1\tlatest\n"
    assert run("ls", "models/pets:top").stdout == b"a.txt\nlink\nsub/\n"
    assert run("cat", "models/pets:top", "a.txt").stdout == b"1"
    assert run("diff", "models/pets:v0", "animals:v1").stdout == b""
    assert "links to default/default/animals:v1" in run("log", "models/pets").text
    shown = run("--json", "show", "models/pets:v0").document
    assert shown["source"] == "default/default/animals:v1"
    assert run("--json", "show", "animals:v1").document["links"] == ["default/models/pets:v0"]
    run("get", "models/pets:v1", tmp_path / "t")
    assert (tmp_path / "t/a.txt").read_bytes() == b"hello\n"
    one_line(run, 4, "put", "models/pets", three, line="is a portfolio")
    one_line(run, 4, "put", "models/pets", three, "--type", "x", line="is a portfolio")
    one_line(run, 2, "link", "animals:v0", "models/pets:v7", line="names a version of it")
    one_line(run, 2, "link", "animals:v0", "animals", line="is the artifact itself")


def test_unlink(run: Run, three: Path) -> None:
    for n in range(3):
        run("link", f"animals:v{n}", "pets", *(["--alias", "top"] if n == 2 else []))
    one_line(run, 2, "unlink", "pets", line="names an artifact and no version of it")
    one_line(run, 2, "unlink", "pets:v0", "animals:v0", line="animals:v0: is a version")
    one_line(run, 3, "unlink", "pets:v0", "pets:v9", line="pets:v9: no such version")
    assert versions(run, "pets") == ["v0", "v1", "v2"]
    assert run("unlink", "pets:v0", "pets:top").stdout == b"pets:v0\npets:v2\n"
    assert versions(run, "pets") == ["v1"]
    assert versions(run) == ["v0", "v1", "v2"]
    assert run("--json", "unlink", "pets:v1").document == {"unlinked": ["pets:v1"]}
    one_line(run, 3, "ls", "pets", line="all its versions are deleted")


def test_rm(run: Run, three: Path) -> None:
    one_line(run, 2, "rm", line="takes versions to delete")
    one_line(run, 2, "rm", "animals", line="names an artifact and no version of it")
    one_line(run, 4, "rm", "animals:v0", "animals:v1", line="animals:v1: has the alias best")
    one_line(run, 3, "rm", "animals:v0", "animals:v9", line="animals:v9: no such version")
    assert versions(run) == ["v0", "v1", "v2"]
    would = run("rm", "-n", "animals:v0")
    assert would.stdout == b"animals:v0\n"
    assert "would be reclaimable" in would.stderr
    assert versions(run) == ["v0", "v1", "v2"]
    done = run("--json", "rm", "animals:v0", "animals:v0")
    assert done.document == {
        "dry_run": False, "deleted": ["animals:v0"], "kept": [],
        "reclaimable": done.document["reclaimable"], "exact": True,
    }  # fmt: skip
    assert 0 < done.document["reclaimable"] < 1000
    one_line(run, 3, "rm", "animals:v0", line="animals:v0: was deleted")
    assert run("rm", "--force", "animals:best", "animals:latest").stdout.split() == [
        b"animals:v1", b"animals:v2",
    ]  # fmt: skip
    one_line(run, 3, "rm", "animals:latest", line="all its versions are deleted")
    assert run("put", "animals", three).stdout == b"animals:v3\n"


def test_rm_of_what_is_linked(run: Run, three: Path) -> None:
    run("link", "animals:v0", "pets:top")
    one_line(run, 4, "rm", "animals:v0", line="has a link in default/default/pets:v0")
    one_line(run, 4, "rm", "pets:v0", line="pets:v0: has the alias top")
    run("rm", "--force", "animals:v0")
    one_line(run, 3, "cat", "pets:v0", "a.txt", line="pets:v0: was deleted")
    one_line(run, 3, "cat", "pets:top", "a.txt", line="no such alias")


def test_how_long_a_version_lives(run: Run, three: Path) -> None:
    made = datetime.fromisoformat(run("--json", "show", "animals:v1").document["created"])
    assert run("ttl", "animals:v1").text == "never\n"
    for span, seconds in (("30d", 2592000), ("12h", 43200), ("90min", 5400), ("45s", 45)):
        found = run("--json", "ttl", "animals:v1", span).document
        assert (found["version"], found["ttl"]) == ("animals:v1", seconds)
        when = run("ttl", "animals:v1").text.strip()
        assert when == found["expires"]
        assert datetime.fromisoformat(when) - made == timedelta(seconds=seconds)
    assert artfs.Api().artifact("animals:v1").ttl == timedelta(seconds=45)
    assert run("ttl", "animals:v1", "never").text == "never\n"
    assert artfs.Api().artifact("animals:v1").ttl is None
    for span in ("30", "d", "0d", "-1d", "1.5h", "1 d", "1w", "9999999999d", ""):
        one_line(run, 2, "ttl", "animals:v1", "--", span, line=f"span '{span}'")
    one_line(run, 2, "ttl", "animals:v1", "365251d", line="is longer than 1,000 years")
    one_line(run, 3, "ttl", "animals:v9", "1d", line="no such version")


def test_rm_of_what_has_expired(run: Run, three: Path) -> None:
    artifact = artfs.Api().artifact("animals:v0")
    artifact.ttl = timedelta(days=1)
    artifact.save()
    for n in (1, 2):
        run("ttl", f"animals:v{n}", "24h")
    run("link", "animals:v0", "pets")
    assert run("--json", "rm", "--expired").document["deleted"] == []
    expires = run("--json", "show", "animals:v0").document["expires"]
    assert expires.endswith("+00:00")
    _long_ago(run)
    kept = run("--json", "rm", "--expired")
    assert kept.document["deleted"] == ["animals:v2"]
    assert kept.document["kept"] == ["animals:v0", "animals:v1"]
    assert "kept: animals:v1 has expired, and has the alias best" in kept.stderr
    one_line(run, 3, "rm", "--expired", "nosuch", line="artifact 'nosuch': no such artifact")
    assert run("rm", "--expired", "animals", "--force").stdout == b"animals:v0\nanimals:v1\n"
    assert run("rm", "--expired").stdout == b""


def _long_ago(run: Run) -> None:
    """Let the versions be of a time when they should have expired since."""
    store = Path(run("--json", "init").document["store"])
    for path in store.glob("projects/default/default/animals/versions/*.json"):
        text = path.read_text()
        at = text.index('"created": "') + len('"created": "')
        path.write_text(f"{text[:at]}2001{text[at + 4 :]}")
