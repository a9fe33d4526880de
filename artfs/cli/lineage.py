"""lineage: what a version came from, and what came from it."""

from __future__ import annotations

import json

import click

from artfs.cli import graphs
from artfs.cli.app import Settings
from artfs.cli.picture import svg
from artfs.cli.runs import run_json
from artfs.repo.lineage import Lineage, NodeKey
from artfs.repo.lineage import lineage as find
from artfs.types import RunKey

_FORMATS = ("text", "dot", "mermaid", "svg", "json")


@click.command()
@click.argument("ref")
@click.option("--format", "form", type=click.Choice(_FORMATS), default="text", show_default=True)
@click.option("--depth", type=click.IntRange(0), metavar="N", help="At most N runs away.")
@click.option(
    "--limit", type=click.IntRange(1), default=1000, show_default=True, metavar="N",
    help="At most N versions and runs.",
)  # fmt: skip
@click.pass_obj
def lineage(settings: Settings, ref: str, form: str, depth: int | None, limit: int) -> None:
    """What a version came from, and what came from it."""
    parsed = settings.ref(ref)
    with settings.repository() as repository:
        version = repository.catalog.resolve(parsed)
        found = find(repository, parsed.artifact, version, depth=depth, limit=limit)
    graph = graphs.graph_of(found)
    if settings.as_json or form == "json":
        text = json.dumps(_document(found), indent=1)
    else:
        write = {"dot": graphs.dot, "mermaid": graphs.mermaid, "svg": svg}.get(form)
        text = graphs.text(found, graph) if write is None else write(graph)
    settings.result(text, _document(found))
    if found.cut:
        settings.say("there is more than is shown; --depth and --limit say how much")


def _document(found: Lineage) -> dict[str, object]:
    versions = [
        {
            "version": _name(key), "digest": node.record.digest if node.record else None,
            "created": node.record.created if node.record else None, "deleted": node.deleted,
        }
        for key, node in found.versions.items()
    ]  # fmt: skip
    edges = [
        {"from": _name(edge.source), "to": _name(edge.target), "kind": edge.kind}
        for edge in found.edges
    ]
    return {
        "start": _name(found.start), "versions": versions,
        "runs": [run_json(key, run) for key, run in found.runs.items()], "edges": edges,
        "cut": found.cut,
    }  # fmt: skip


def _name(key: NodeKey) -> str:
    if isinstance(key, RunKey):
        return str(key)
    artifact, number = key
    return f"{artifact.entity}/{artifact.project}/{artifact.name}:v{number}"
