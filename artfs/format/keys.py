"""The name of every object in a store: one layout for directories and buckets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote

from artfs.types import ArtifactKey, RunKey

STORE = "artfs.json"
PACKS = "packs/"
PROJECTS = "projects/"
PARTS = "parts/"
RUNS = "runs/"

_PACK_KEY = re.compile(r"packs/([0-9a-f]{2})/\1[0-9a-f]{30}\Z")
_NUMBERED = re.compile(r"[0-9]{10}\.json\Z")
_VERSION = re.compile(r"projects/[^/]+/[^/]+/[^/]+/versions/([0-9]{10})\.json\Z")


def pack(pack_id: bytes) -> str:
    """`packs/AA/<32 hex digits>`, AA being the first two of them."""
    name = pack_id.hex()
    return f"{PACKS}{name[:2]}/{name}"


def is_pack(key: str) -> bool:
    """Whether it is the key of a pack: tools that copy stores leave names of their own beside."""
    return _PACK_KEY.match(key) is not None


def pack_of(key: str) -> bytes:
    """The pack id in a pack's key."""
    return bytes.fromhex(key.rpartition("/")[2])


def numbers(names: Iterable[str]) -> Iterator[int]:
    """The numbers in the last components of keys that are numbers; other names are passed over."""
    for name in names:
        if _NUMBERED.match(name):
            yield int(name.removesuffix(".json"))


def numbered(number: int) -> str:
    """The last component of a key that is a number: ten digits, so that key order is number
    order."""
    return f"{number:010d}.json"


def project(entity: str, project_name: str) -> str:
    """Prefix of a project's artifacts."""
    return f"{PROJECTS}{entity}/{project_name}/"


def artifact(key: ArtifactKey) -> str:
    """Prefix of everything of one artifact."""
    return f"{project(key.entity, key.project)}{key.name}/"


def artifact_record(key: ArtifactKey) -> str:
    """The artifact's type and description."""
    return artifact(key) + "artifact.json"


def floor(key: ArtifactKey) -> str:
    """A number that the versions have reached."""
    return artifact(key) + "floor.json"


def versions(key: ArtifactKey) -> str:
    """Prefix of the version records."""
    return artifact(key) + "versions/"


def version(key: ArtifactKey, number: int) -> str:
    """A version record."""
    return versions(key) + numbered(number)


def is_version(key: str) -> bool:
    """Whether it is the key of a version record, which never changes."""
    return _VERSION.match(key) is not None


def deletion(key: ArtifactKey, number: int) -> str:
    """The mark that a version is deleted; its record stays, so that no number is used again."""
    return deletions(key) + numbered(number)


def deletions(key: ArtifactKey) -> str:
    """Prefix of the marks."""
    return artifact(key) + "deleted/"


def labels(key: ArtifactKey, number: int) -> str:
    """What was changed in the labels of a version since it was made."""
    return all_labels(key) + numbered(number)


def all_labels(key: ArtifactKey) -> str:
    """Prefix of the records of labels."""
    return artifact(key) + "labels/"


def links(key: ArtifactKey, number: int) -> str:
    """Prefix of the records of what portfolios have a link to a version."""
    return f"{artifact(key)}links/{number:010d}/"


def link(key: ArtifactKey, number: int, portfolio: ArtifactKey) -> str:
    """Which version of a portfolio is the link to a version."""
    at = f"{portfolio.entity}/{portfolio.project}/{portfolio.name}"
    return f"{links(key, number)}{at}.json"


def portfolio_of(link_key: str) -> ArtifactKey:
    """The portfolio in the key of a link's record."""
    entity, project_name, name = link_key.split("/")[-3:]
    return ArtifactKey(entity, project_name, name.removesuffix(".json"))


def parts(distributed_id: str, key: ArtifactKey) -> str:
    """Prefix of what several writers add to one version of an artifact."""
    return f"{PARTS}{quote(distributed_id, safe='')}/{key.entity}/{key.project}/{key.name}/"


def writers(distributed_id: str, key: ArtifactKey) -> str:
    """Prefix of the writers' parts."""
    return parts(distributed_id, key) + "writers/"


def part(distributed_id: str, key: ArtifactKey, writer: str) -> str:
    """One writer's part."""
    return f"{writers(distributed_id, key)}{writer}.json"


def finish(distributed_id: str, key: ArtifactKey) -> str:
    """That nobody can add to the version any more."""
    return parts(distributed_id, key) + "finish.json"


def aliases(key: ArtifactKey) -> str:
    """Prefix of the alias records."""
    return artifact(key) + "aliases/"


def alias(key: ArtifactKey, name: str) -> str:
    """An alias record; characters beyond letters, digits and `_.-~` are percent-encoded."""
    return f"{aliases(key)}{quote(name, safe='')}.json"


def alias_of(file_name: str) -> str:
    """The alias in the last component of an alias record's key."""
    return unquote(file_name.removesuffix(".json"))


def uses(key: ArtifactKey, number: int) -> str:
    """Prefix of the marks of the runs that used a version."""
    return f"{artifact(key)}uses/{number:010d}/"


def use(key: ArtifactKey, number: int, run_key: RunKey) -> str:
    """The mark that a run used a version."""
    return f"{uses(key, number)}{run_key}.json"


def user_of(key: str) -> RunKey:
    """The run in the key of a mark. Raises ValueError for another key."""
    *_, entity, project_name, run_id = key.removesuffix(".json").split("/")
    return RunKey(entity, project_name, run_id)


def runs(entity: str, project_name: str) -> str:
    """Prefix of a project's runs."""
    return f"{RUNS}{entity}/{project_name}/"


def run_record(key: RunKey) -> str:
    """A run's record."""
    return f"{RUNS}{key}/run.json"


def run_artifacts(key: RunKey) -> str:
    """Prefix of what says which versions a run used and made."""
    return f"{RUNS}{key}/artifacts/"


def run_part(key: RunKey, number: int) -> str:
    """One of these, in the order in which they were written."""
    return run_artifacts(key) + numbered(number)
