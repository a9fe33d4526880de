"""A lineage in words: what is shown of versions and runs, as text, for dot and for mermaid."""

from __future__ import annotations

import shlex

import msgspec

from artfs.cli.output import one_line
from artfs.format.runs import RunRecord
from artfs.repo.lineage import BASE, UNCHANGED, Edge, Lineage, NodeKey, VersionNode
from artfs.repo.runs import CRASHED, FAILED, state_of
from artfs.types import RunKey, named_in

#: What is not made anew from its source by a run.
DASHED = (BASE, UNCHANGED)
#: What in a text of mermaid is none: it is Markdown and HTML, with entities of a kind of its own.
_MERMAID = str.maketrans({
    "#": "#35;", "&": "#amp;", "<": "#lt;", ">": "#gt;", '"': "#quot;", "`": "#96;", "\\": "#92;",
})  # fmt: skip
#: Characters of a name or a command in a picture.
_NAME = 32


class Shown(msgspec.Struct, frozen=True):
    """A node for people. `look`: version, start, run, failed, gone."""

    name: str
    note: str
    detail: str
    look: str
    is_run: bool


class Graph(msgspec.Struct, frozen=True):
    """What is to be drawn."""

    title: str
    nodes: dict[NodeKey, Shown]
    edges: list[Edge]


def graph_of(found: Lineage) -> Graph:
    """A lineage for people; names are in full where the project is not that of the start."""
    start = found.start
    project = (start[0].entity, start[0].project)
    nodes: dict[NodeKey, Shown] = {}
    for key, node in found.versions.items():
        nodes[key] = _version(node, project, is_start=key == start)
    for run, run_record in found.runs.items():
        nodes[run] = _run(run, run_record)
    return Graph(f"lineage of {nodes[start].name}", nodes, list(found.edges))


def _version(node: VersionNode, project: tuple[str, str], is_start: bool) -> Shown:
    key = node.key
    name = f"{named_in(key, project)}:v{node.number}"
    full = f"{key.entity}/{key.project}/{key.name}:v{node.number}"
    gone = node.deleted or node.record is None
    when = node.record.created if node.record is not None else ""
    note = "deleted" if gone else when
    look = "start" if is_start else "gone" if gone else "version"
    return Shown(name, note, f"{full} {when}".strip(), look, is_run=False)


def title_of(key: RunKey, run: RunRecord) -> str:
    """What a run was called, or else what it ran; its id, if that is not known. In one line."""
    name = run.name if run.name not in ("", key.id) else shlex.join(run.command) or key.id
    return one_line(name)


def _run(key: RunKey, run: RunRecord) -> Shown:
    state = state_of(run)
    name = title_of(key, run)
    short = name if len(name) <= _NAME else name[: _NAME - 1] + "…"
    look = "failed" if state in (FAILED, CRASHED) else "run"
    what = f"{one_line(run.job_type)}, " if run.job_type else ""
    return Shown(short, f"{what}{state} {run.started}", f"run {key}: {name}", look, is_run=True)


def text(found: Lineage, graph: Graph) -> str:
    """The lineage as two trees, what it came from and what came from it."""
    start = graph.nodes[found.start]
    lines = [f"{start.name}  {start.note}"]
    before: dict[NodeKey, list[NodeKey]] = {}
    after: dict[NodeKey, list[NodeKey]] = {}
    for edge in graph.edges:
        if edge.kind != UNCHANGED:
            before.setdefault(edge.target, []).append(edge.source)
        after.setdefault(edge.source, []).append(edge.target)
    for title, following in (("came from", before), ("led to", after)):
        if found.start in following:
            lines.append(title)
            _branches(found.start, "", following, graph, lines, {found.start})
    return "\n".join(lines)


def _branches(
    key: NodeKey, indent: str, following: dict[NodeKey, list[NodeKey]], graph: Graph,
    lines: list[str], seen: set[NodeKey],
) -> None:  # fmt: skip
    children = following.get(key, [])
    for child in children:
        last = child is children[-1]
        shown = graph.nodes[child]
        again = "  (see above)" if child in seen and child in following else ""
        what = f"run {shown.name}" if shown.is_run else shown.name
        lines.append(f"{indent}{'└─' if last else '├─'} {what}  {shown.note}{again}")
        if child not in seen:
            seen.add(child)
            _branches(child, indent + ("   " if last else "│  "), following, graph, lines, seen)


def dot(graph: Graph) -> str:
    """The language of graphviz."""
    ids = {key: f"n{number}" for number, key in enumerate(graph.nodes)}
    lines = [f"digraph {_quoted(graph.title)} {{", "  rankdir=LR;", '  node [fontname="sans"];']
    for key, shown in graph.nodes.items():
        shape = 'shape=box, style="rounded"' if shown.is_run else "shape=box"
        if shown.look == "start":
            shape += ", penwidth=3"
        label = _quoted(f"{shown.name}\n{shown.note}")
        lines.append(f"  {ids[key]} [label={label}, {shape}];")
    for edge in graph.edges:
        style = " [style=dashed]" if edge.kind in DASHED else ""
        lines.append(f"  {ids[edge.source]} -> {ids[edge.target]}{style};")
    return "\n".join([*lines, "}"])


def _quoted(value: str) -> str:
    text = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    text = text.replace("&", "&amp;")  # graphviz knows the entities of HTML
    return f'"{text}"'


def mermaid(graph: Graph) -> str:
    """A flowchart of mermaid, which web pages of forges draw."""
    ids = {key: f"n{number}" for number, key in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    for key, shown in graph.nodes.items():
        begin, end = ("([", "])") if shown.is_run else ("[", "]")
        label = f"{shown.name.translate(_MERMAID)}<br/>{shown.note.translate(_MERMAID)}"
        lines.append(f'  {ids[key]}{begin}"{label}"{end}')
    for edge in graph.edges:
        arrow = "-.->" if edge.kind in DASHED else "-->"
        lines.append(f"  {ids[edge.source]} {arrow} {ids[edge.target]}")
    start = next(ids[key] for key, shown in graph.nodes.items() if shown.look == "start")
    return "\n".join([*lines, f"  style {start} stroke-width:3px"])
