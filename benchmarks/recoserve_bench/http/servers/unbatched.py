"""recoserve without its batcher: the same command, but each request runs its own `Model.rank`, there and then."""

import sys
import time

from recoserve.cli import main
from recoserve.scheduling.batch import Completed
from recoserve.scheduling.batcher import Batcher


async def submit(_self, work, encoder, _deadline):
    """Take the place of `Batcher.submit`: rank on the event loop, where nothing waits and nothing is shared."""
    started = time.monotonic()
    value = encoder.encode(work.model.rank(work.queries))
    return Completed(value, 0.0, time.monotonic() - started)


if __name__ == "__main__":
    Batcher.submit = submit
    port, bundle = sys.argv[1:]
    sys.argv[1:] = ["serve", bundle, "--port", port, "--log-format", "json", "--drain-seconds", "0"]
    main()
