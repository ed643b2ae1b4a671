"""recoserve without its batcher: the same command, but each request runs its own `Model.rank`, there and then."""

import sys
import time

from recoserve.cli import main
from recoserve.scheduling import batcher


async def run(_self, model, queries, finish, _deadline, brief=True):  # noqa: ARG001  # the same as its own
    """In the place of `Batcher.run`: on the event loop, nothing waits and nothing shares."""
    began = time.monotonic()
    answer = finish(model.rank(queries))
    return batcher.Done(answer, 0.0, time.monotonic() - began)


if __name__ == "__main__":
    batcher.Batcher.run = run
    port, bundle = sys.argv[1:]
    sys.argv[1:] = ["serve", bundle, "--port", port, "--log-format", "json", "--drain-seconds", "0"]
    main()
