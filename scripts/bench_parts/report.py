"""Medians, the table, and what must hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

# What must hold, over median seconds: row of artfs, at most FACTOR times row of the peer.
MUST_HOLD = [
    ("store small", 1.0, "native", "store small"),
    ("walk cold", 1.0, "squashfuse", "walk cold"),
    ("walk warm", 1.0, "squashfuse", "walk warm"),
    ("read cold", 1.0, "native", "read cold"),
    ("read warm", 1.0, "squashfuse", "read warm"),
    ("store big", 1.0, "native", "store big"),
    ("store big", 1.0, "native", "store big fsync"),
    ("random cold", 1.5, "squashfuse", "random cold"),
    ("seq cold", 1 / 0.7, "native", "seq cold"),
    ("seq warm", 1.0, "squashfuse", "seq warm"),
    ("write", 1 / 0.7, "native", "write"),
    ("create", 1 / 0.35, "native", "create"),
    ("untar", 1 / 0.3, "native", "untar"),
]


@dataclass
class Results:
    """Seconds by row and peer, in the order measured; `peaks` is bytes by peer."""

    seconds: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)

    def add(self, row: str, peer: str, seconds: float) -> None:
        self.seconds.setdefault(row, {}).setdefault(peer, []).append(seconds)

    def has(self, peer: str) -> bool:
        """Whether anything was measured of a peer."""
        return any(peer in row for row in self.seconds.values())

    def median(self, row: str, peer: str) -> float | None:
        values = self.seconds.get(row, {}).get(peer)
        return median(values) if values else None


def table(results: Results, peers: list[str]) -> str:
    others = [peer for peer in peers if peer != "artfs"] if "artfs" in peers else []
    lines = ["".join(f"{head:>16}" for head in ["seconds", *peers, *(f"/{p}" for p in others)])]
    for row in results.seconds:
        times = {peer: results.median(row, peer) for peer in peers}
        ours = times.get("artfs")
        cells = [f"{value:.3f}" if value is not None else "-" for value in times.values()]
        for peer in others:
            theirs = times[peer]
            cells.append(f"{ours / theirs:.2f}" if ours is not None and theirs else "-")
        lines.append("".join(f"{cell:>16}" for cell in [row, *cells]))
    peaks = [f"{results.peaks[p] / 1e6:.0f}" if results.peaks.get(p) else "-" for p in peers]
    lines.append("".join(f"{cell:>16}" for cell in ["peak memory, MB", *peaks]))
    return "\n".join(lines)


def verdicts(results: Results) -> list[tuple[str, bool]]:
    """Each must-hold row that was measured, with whether it holds."""
    found = []
    for row, factor, peer, peer_row in MUST_HOLD:
        ours, theirs = results.median(row, "artfs"), results.median(peer_row, peer)
        if ours is not None and theirs is not None:
            limit = factor * theirs
            text = f"{row}: {ours:.3f} <= {factor:.2f} * {theirs:.3f} ({peer}, {peer_row})"
            found.append((text + _beside_null(results, row, ours, limit), ours <= limit))
    return found


def _beside_null(results: Results, row: str, ours: float, limit: float) -> str:
    """What a filesystem that does nothing takes: whether anybody could hold the limit here."""
    null = results.median(row, "null")
    if null is None:
        return ""
    verdict = "beyond that" if null > limit else "within that"
    return f"; null takes {null:.3f}, {verdict}, and artfs {ours / null:.2f} times as long"
