"""recoserve without its batcher: the same command, but each request runs its own `Model.rank` on the event loop."""

import sys
import time

from recoserve.cli import main
from recoserve.scheduling.batch import Completed
from recoserve.scheduling.batcher import Batcher


async def submit(_self, work, encoder, _deadline):
    """Replaces `Batcher.submit`: nothing waits, and no two requests share a run."""
    began = time.monotonic()
    document = encoder.encode(work.model.rank(work.queries))
    return Completed(document, 0.0, time.monotonic() - began)


if __name__ == "__main__":
    Batcher.submit = submit
    port, bundle = sys.argv[1:]
    sys.argv[1:] = ["serve", bundle, "--port", port, "--log-format", "json", "--drain-seconds", "0"]
    main()
