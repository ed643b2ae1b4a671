"""Logs for machines (one JSON object a line) or for people."""

import logging.config
from collections.abc import Mapping
from typing import Any

JSON_DATE, TEXT_DATE = "%Y-%m-%dT%H:%M:%S%z", "%H:%M:%S"

JSON = {
    "()": "pythonjsonlogger.json.JsonFormatter",
    "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s",
    "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
    "datefmt": JSON_DATE,
}


class TextFormatter(logging.Formatter):
    """`time level message key=value …`, one line a record but for tracebacks."""

    KEYS = ("request_id", "model", "version", "url")

    def format(self, record: logging.LogRecord) -> str:
        extras = pairs({key: getattr(record, key, None) for key in self.KEYS})
        return f"{super().format(record)} {extras}".rstrip()


def pairs(fields: Mapping[str, object]) -> str:
    """Fields for people: `key=value …`, without those that are None."""
    return " ".join(f"{key}={value}" for key, value in fields.items() if value is not None)


TEXT = {"()": TextFormatter, "fmt": "%(asctime)s %(levelname)-7s %(message)s", "datefmt": TEXT_DATE}


def logging_config(log_format: str) -> dict[str, Any]:
    """For `logging.config.dictConfig`: everything to standard error, uvicorn's own access log off."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": JSON if log_format == "json" else TEXT},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}},
        "root": {"level": "INFO", "handlers": ["stderr"]},
        "loggers": {"uvicorn.access": {"level": "CRITICAL"}, "uvicorn.error": {"level": "WARNING"}},
    }


def configure(log_format: str) -> None:
    """Have every logger write lines of that format, `json` or `text`."""
    logging.config.dictConfig(logging_config(log_format))
