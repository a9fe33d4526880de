"""What a commit does where the artifact has moved on since the draft's base: words only."""

from __future__ import annotations

from artfs.errors import InvalidValue

#: What to do where the artifact has moved on: put the draft's changes on the newest version, unless
#: both changed a path; refuse; or put them there, with the draft's side of such paths.
REBASE, FAIL, OURS = "rebase", "fail", "ours"
POLICIES = (REBASE, FAIL, OURS)


def check_policy(policy: str) -> str:
    """The policy itself. Raises `InvalidValue`."""
    if policy not in POLICIES:
        raise InvalidValue(f"--on-conflict={policy}", f"is none of {', '.join(POLICIES)}")
    return policy
