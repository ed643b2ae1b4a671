"""What the commands print: tables and text to standard output, notices to standard error."""

from rich.console import Console

out, err = Console(highlight=False), Console(stderr=True, highlight=False)


def print_json(value: object) -> None:
    """Print a value as one line of JSON, numbers as the service writes them."""
    from recoserve.web.encoders import to_json  # here, so that a command that prints text doesn't load it

    print(to_json(value).decode())
