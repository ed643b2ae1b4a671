"""What the commands print: tables and text to standard output, notices to standard error."""

from rich.console import Console

out, err = Console(highlight=False), Console(stderr=True, highlight=False)


def print_json(value: object) -> None:
    """Print a value as one line of JSON, numbers as the service writes them."""
    from recoserve.web.json_route import encoded  # here, so that a command that prints text doesn't load the web framework

    print(encoded(value).decode())
