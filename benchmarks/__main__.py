import sys

from benchmarks.command import bench
from service.errors import RecoserveError

if __name__ == "__main__":
    try:
        bench()
    except RecoserveError as error:
        sys.exit(f"error: {error}")
