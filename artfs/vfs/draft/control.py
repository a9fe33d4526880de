"""What the command line asks of a running draft mount: the draft's part of the control protocol.

Each handler takes the request and gives the answer's fields; errors are raised as they are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from artfs.errors import InvalidValue
from artfs.vfs.draft.commit import CommitResult
from artfs.vfs.draft.policy import check_policy
from artfs.vfs.draft.state import Ending
from artfs.vfs.draft.tree import DraftTree

Fields: TypeAlias = dict[str, object]
Handler: TypeAlias = Callable[[Fields], Awaitable[Fields]]

_ENDINGS = ("commit", "keep", "discard")
#: Takes back what was said: the mount stays.
_STAY = "stay"


def control_handlers(tree: DraftTree) -> dict[str, Handler]:
    """The requests that a draft mount answers, by their `do`."""

    async def sync(request: Fields) -> Fields:
        description = request.get("description")
        result = await tree.commit(
            None if description is None else str(description), _policy(request)
        )
        return {"draft": tree.draft.record.id, **_result(result)}

    async def status(request: Fields) -> Fields:
        found = await tree.status()
        return {
            "draft": found.id,
            "artifact": found.artifact,
            "base": found.base,
            "newest": found.newest,
            "bytes": found.written,
            "error": found.error,
            "left_out": [_text(path) for path in found.left_out],
            "changes": [
                {
                    "change": change.change,
                    "path": _text(change.path),
                    "old_path": _text(change.old_path),
                    "is_dir": change.is_dir,
                    "size": change.size,
                }
                for change in found.changes
            ],
        }

    async def stop(request: Fields) -> Fields:
        """Says how the draft is to end; whoever asks unmounts it then, or if he cannot, takes it
        back with 'stay'. With 'commit', it is committed now, while an error can still be told, and
        again after the unmount if more came.
        """
        mode = str(request.get("mode", "commit"))
        if mode not in (*_ENDINGS, _STAY):
            raise InvalidValue(f"mode '{mode}'", f"is none of {', '.join(_ENDINGS)}")
        answer: Fields = {"draft": tree.draft.record.id}
        policy = _policy(request)
        if mode == "commit":
            answer |= _result(await tree.commit(on_conflict=policy))
        tree.ending = Ending() if mode == _STAY else Ending(mode, policy)
        return answer

    return {"sync": sync, "status": status, "diff": status, "stop": stop}


def _policy(request: Fields) -> str | None:
    policy = request.get("on_conflict")
    return None if policy is None else check_policy(str(policy))


def _result(result: CommitResult) -> Fields:
    return {
        "version": result.version,
        "changed": result.changed,
        "left_out": [_text(path) for path in result.left_out],
        "onto": result.onto,
    }


def _text(path: bytes) -> str:
    """A path in JSON: bytes that are no UTF-8 as Python's file names have them."""
    return path.decode("utf-8", "surrogateescape")
