"""The service's settings, from `RECOSERVE_*` environment variables; each is also an option or argument of `recoserve serve`."""

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from recoserve.errors import SettingsInvalid

PREFIX = "RECOSERVE_"


class Settings(BaseSettings):
    """How one service process runs. Names end in their unit. Immutable, so that all parts of the service use the same values."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    models: Path | None = Field(None, description="A bundle, or a folder of NAME/VERSION/ bundles.")
    default_model: str | None = Field(
        None, description="The model that answers requests which name none; by default the first in alphabetical order."
    )
    or_demo: bool = Field(
        False,
        description="Serve the built-in demo bundle if the path given as BUNDLE_OR_FOLDER doesn't exist or holds no model.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    provider: Literal["auto", "cpu", "cuda"] = Field("auto", description="ONNX Runtime execution provider.")
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="Threads of one inference; 0: as many as the CPUs that the process may use, or 1 for a small model.",
    )
    retrieval: Literal["exact", "plain"] = Field(
        "exact",
        description="exact: top k by bounds that skip items; plain: by scoring every item. The answers are the same.",
    )
    max_k: int = Field(1000, ge=1, le=1_000_000, description="Largest k that a request may ask for.")
    max_list_ids: int = Field(
        10_000, ge=1, le=10_000_000, description="Most ids in one list of a request, and most values in its filter."
    )
    max_answer_items: int = Field(
        200_000,
        ge=1,
        description="Most items in one batch response: its users times k, plus the items named in their explanations.",
    )
    max_batch_rows: int = Field(64, ge=1, description="Most users ranked in one run of a model.")
    max_queue_rows: int = Field(1024, ge=1, description="Most users waiting or being answered at once; further requests get 503.")
    max_body_bytes: int = Field(1 << 20, ge=1, description="Largest request body, in bytes.")
    request_timeout_ms: int = Field(
        10_000, ge=1, description="Default deadline of a request, and the longest one that a request may set."
    )
    drain_seconds: float = Field(
        5.0, ge=0, le=3600, description="How long requests are still answered after SIGTERM, while /readyz says 503."
    )
    log_format: Literal["json", "text"] = Field("json", description="json: one JSON object a line; text: lines for people to read.")


def load_settings(**options: Any) -> Settings:
    """The settings: each from its option; where that is None or left out, from its environment variable; else its default.

    Raises SettingsInvalid, which names what is at fault: an environment variable `RECOSERVE_*` or an option that is no setting, or
    a value that is of the wrong type or out of bounds.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    # pydantic-settings doesn't look at variables that it doesn't know, so a misspelt name would be ignored silently.
    unknown = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
    if unknown:
        raise SettingsInvalid(f"unknown environment variable {', '.join(unknown)}; the settings are {', '.join(sorted(known))}")
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        raise SettingsInvalid("; ".join(f"{_both_names(detail['loc'][0])}: {detail['msg']}" for detail in error.errors())) from None


def _both_names(field: int | str) -> str:
    """The option (or argument) and the environment variable of a setting: an error doesn't say which of them had the value."""
    name = str(field)
    if name == "models":
        return f"BUNDLE_OR_FOLDER or {PREFIX}MODELS"
    return f"--{name.replace('_', '-')} or {PREFIX}{name.upper()}"
