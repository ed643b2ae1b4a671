"""Logs for machines (one JSON object a line) or for people."""

import logging.config
from typing import Any

JSON = {
    "()": "pythonjsonlogger.json.JsonFormatter",
    "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s",
    "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
    "datefmt": "%Y-%m-%dT%H:%M:%S%z",
}


class TextFormatter(logging.Formatter):
    """`time level message key=value …`, one line a record but for tracebacks."""

    KEYS = ("method", "route", "status", "duration_ms", "request_id", "trace_id", "model", "version", "url")

    def format(self, record: logging.LogRecord) -> str:
        extras = " ".join(f"{key}={value}" for key in self.KEYS if (value := getattr(record, key, None)) is not None)
        return f"{super().format(record)} {extras}".rstrip()


TEXT = {"()": TextFormatter, "fmt": "%(asctime)s %(levelname)-7s %(message)s", "datefmt": "%H:%M:%S"}


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
    logging.config.dictConfig(logging_config(log_format))
