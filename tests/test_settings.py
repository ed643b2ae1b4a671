"""Settings: from the environment or the command line, one for one, and nothing else."""

import inspect

import pytest

from recoserve.commands.serve import serve
from recoserve.errors import SettingsInvalid
from recoserve.settings import PREFIX, Settings, load_settings


def test_options_override_the_environment(monkeypatch):
    monkeypatch.setenv("RECOSERVE_MAX_K", "7")
    monkeypatch.setenv("RECOSERVE_PORT", "9000")

    settings = load_settings(max_k=5, port=None)
    assert (settings.max_k, settings.port) == (5, 9000)


@pytest.mark.parametrize("name", ["RECOSERVE_MAXK", "RECOSERVE_API_KEYS_FILE", "recoserve_thread"])
def test_an_unknown_setting_is_named(monkeypatch, name):
    """A misspelt limit must not pass for one that holds."""
    monkeypatch.setenv(name, "1")

    with pytest.raises(SettingsInvalid, match=name):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "http"), ("PORT", "70000"), ("MAX_K", "0"), ("PROVIDER", "tpu"), ("DRAIN_SECONDS", "-1"), ("LOG_FORMAT", "xml")],
)
def test_an_invalid_setting_is_named_as_option_and_as_variable(monkeypatch, name, value):
    monkeypatch.setenv(PREFIX + name, value)

    with pytest.raises(SettingsInvalid, match=f"^--{name.lower().replace('_', '-')} or {PREFIX}{name}: "):
        load_settings()


def test_every_setting_is_an_option_of_serve_and_the_other_way_round():
    assert set(Settings.model_fields) == set(inspect.signature(serve).parameters)
