"""`python -m recoserve_bench` is `recoserve bench`."""

import sys

from recoserve.errors import RecoserveError
from recoserve_bench.command import bench

if __name__ == "__main__":
    try:
        bench()
    except RecoserveError as error:
        sys.exit(f"error: {error}")
