"""Reading the man pages: their text without the markup, sentence by sentence."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_ESCAPES = (("\\-", "-"), ("\\&", ""), ("\\(aq", "'"), ("\\e", "\\"))


def plain(page: Path) -> str:
    """The text of a page's source, with the escapes that stand for a character undone."""
    text = page.read_text()
    for escape, character in _ESCAPES:
        text = text.replace(escape, character)
    return text


def sections(text: str, macro: str) -> dict[str, str]:
    """What follows each heading, by heading."""
    parts = re.split(rf"^\.{macro} +(.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def sentences(text: str) -> list[str]:
    """The sentences of a section of prose. As roff wants it, one ends with its line."""
    found: list[str] = []
    words: list[str] = []
    for line in text.strip().splitlines():
        if re.match(r"\.(SS|PP)\b", line):
            assert not words, f"not a sentence: {' '.join(words)}"
            continue
        words.append(_shown(line))
        if line.endswith("."):
            found.append(" ".join(words))
            words = []
    assert not words, f"not a sentence: {' '.join(words)}"
    return found


def _shown(line: str) -> str:
    macro = re.match(r"\.([A-Z]+) +", line)
    if macro is None:
        assert not line.startswith("."), f"no prose: {line}"
        return line
    # `.BR a b` is both without a space between, `.B a b` with one.
    return ("" if len(macro[1]) == 2 else " ").join(shlex.split(line[macro.end() :]))
