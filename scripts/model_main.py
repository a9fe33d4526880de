"""Random operations on drafts and on a model of them, compared after every step, as in
tests/model/test_draft.py, until so many have been done: 100,000 take some 20 minutes.

Stops at the first failure, which hypothesis has made as small as it can, and prints its seed.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
import traceback

import hypothesis
from hypothesis.stateful import run_state_machine_as_test

from tests.model.test_draft import DraftMachine, Operation

#: Of one seed; hypothesis remembers what it has tried, and slows down with it.
_RUNS, _STEPS = 100, 60


class _Counted(DraftMachine):
    operations = 0

    async def apply(self, operation: Operation) -> None:
        _Counted.operations += 1
        await super().apply(operation)


def survive(seed: int) -> bool:
    """Whether some hundred runs found nothing."""
    settings = hypothesis.settings(
        max_examples=_RUNS, stateful_step_count=_STEPS, deadline=None, database=None,
        suppress_health_check=list(hypothesis.HealthCheck), print_blob=False,
    )  # fmt: skip
    try:
        run_state_machine_as_test(hypothesis.seed(seed)(_Counted), settings=settings)
    except Exception:
        traceback.print_exc()
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/model", description=__doc__)
    parser.add_argument("operations", type=int, nargs="?", default=100_000)
    parser.add_argument("--seed", type=int, help="the first one; the next ones follow it")
    args = parser.parse_args()
    logging.disable()  # commits that fail are logged, and many are made to
    seed = random.randrange(1 << 30) if args.seed is None else args.seed
    start = time.monotonic()
    while _Counted.operations < args.operations:
        if not survive(seed):
            print(f"FAILED: scripts/model 1 --seed {seed}")
            return 1
        seed += 1
        seconds = time.monotonic() - start
        print(f"{_Counted.operations} operations, {seconds:.0f} s", flush=True)
    print(f"PASSED: {_Counted.operations} operations; the last seed was {seed - 1}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
