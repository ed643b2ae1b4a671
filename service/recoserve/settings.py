"""`RECOSERVE_*`: every setting of the service, one for one with the options of `recoserve serve`."""

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from recoserve.errors import SettingsInvalid

PREFIX = "RECOSERVE_"


class Settings(BaseSettings):
    """How one service process runs; units stand in the names. Immutable, so that every part of the service sees the same."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    models: Path | None = Field(None, description="A bundle, or a folder of NAME/VERSION/ bundles.")
    default_model: str | None = Field(None, description="The model that answers where a request names none.")
    or_demo: bool = Field(False, description="Serve the built-in demo bundle where the folder holds no bundle.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    provider: Literal["auto", "cpu", "cuda"] = Field("auto", description="ONNX Runtime execution provider.")
    threads: int = Field(0, ge=0, le=1024, description="Threads for inference; 0: the container's CPU limit.")
    retrieval: Literal["exact", "plain"] = Field(
        "exact", description="How the top-k is found: exact, by proved bounds; plain, by a full scan. Both give the same answers."
    )
    max_k: int = Field(1000, ge=1, le=1_000_000, description="Largest k that a request may ask for.")
    max_list_ids: int = Field(10_000, ge=1, le=10_000_000, description="Most ids in one list of a request.")
    max_answer_items: int = Field(200_000, ge=1, description="Most items in one answer: a batch's users times k.")
    max_batch_rows: int = Field(64, ge=1, description="Most users answered in one run.")
    max_queue_rows: int = Field(1024, ge=1, description="Users waiting or being answered at once; more are refused with 503.")
    max_body_bytes: int = Field(1 << 20, ge=1, description="Largest request body.")
    request_timeout_ms: int = Field(
        10_000, ge=1, description="A request's deadline where it brings none, and the latest it may ask for."
    )
    drain_seconds: float = Field(5.0, ge=0, le=3600, description="After SIGTERM: time served on while /readyz says 503.")
    log_format: Literal["json", "text"] = Field("json", description="One JSON object a line, or text for people.")


def load_settings(**options: Any) -> Settings:
    """Settings from command-line options and, for those that are None or left out, from the environment.

    Raises SettingsInvalid for an unknown `RECOSERVE_*` variable or a value out of bounds, naming it.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    # pydantic-settings ignores variables that it doesn't know, so a misspelt limit would silently not hold.
    unknown = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
    if unknown:
        raise SettingsInvalid(f"unknown setting {', '.join(unknown)}; the settings are {', '.join(sorted(known))}")
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        messages = [f"{PREFIX}{'.'.join(map(str, problem['loc'])).upper()}: {problem['msg']}" for problem in error.errors()]
        raise SettingsInvalid("; ".join(messages)) from None
