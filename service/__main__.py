"""`python -m service` is `recoserve`."""

from service.cli import main

main()
