"""`python -m recoserve` is `recoserve`."""

from recoserve.cli import main

main()
