"""Every legal step of the registry, and every illegal one refused."""

import dataclasses
import itertools
import re
import time

import pytest

from recoserve.errors import BundleInvalid, NotReady, UnknownModel
from recoserve.scheduling.registry import ModelRegistry, RegistryState
from tests.fakes import fake_model

LEGAL = {
    (RegistryState.EMPTY, RegistryState.LOADING),
    (RegistryState.LOADING, RegistryState.READY),
    (RegistryState.LOADING, RegistryState.FAILED),
    (RegistryState.EMPTY, RegistryState.DRAINING),
    (RegistryState.LOADING, RegistryState.DRAINING),
    (RegistryState.READY, RegistryState.DRAINING),
    (RegistryState.FAILED, RegistryState.DRAINING),
}


def failing():
    raise BundleInvalid(["broken"])


def registry_in(state):
    """A registry in that state, by legal steps alone."""
    registry = ModelRegistry()
    if state is RegistryState.DRAINING:
        registry.drain()
    elif state is RegistryState.READY:
        registry.load([fake_model])
    elif state is RegistryState.FAILED:
        registry.load([failing])
    elif state is RegistryState.LOADING:
        registry.state = RegistryState.LOADING
    return registry


def attempt(registry, target):
    """The public call that leads to a state."""
    if target is RegistryState.DRAINING:
        registry.drain()
    else:
        registry.load([failing if target is RegistryState.FAILED else fake_model])


@pytest.mark.parametrize(
    ("start", "target"),
    [step for step in itertools.product(RegistryState, [RegistryState.READY, RegistryState.DRAINING]) if step not in LEGAL],
)
def test_an_illegal_step_is_a_defect(start, target):
    if (start, target) == (RegistryState.EMPTY, RegistryState.READY):
        return assert_loading_passes_through()
    with pytest.raises(RuntimeError, match="no step leads from"):
        attempt(registry_in(start), target)
    return None


def assert_loading_passes_through():
    """EMPTY reaches READY only by way of LOADING."""
    registry, observations = ModelRegistry(), []

    def loader():
        observations.append((registry.state, registry.ready, registry.started))
        return fake_model()

    registry.load([loader])
    assert observations == [(RegistryState.LOADING, False, False)]
    assert (registry.state, registry.ready, registry.started) == (RegistryState.READY, True, True)


@pytest.mark.parametrize("state", [RegistryState.EMPTY, RegistryState.LOADING, RegistryState.FAILED])
def test_without_a_model_there_is_no_answer(state):
    with pytest.raises(NotReady):
        registry_in(state).current()


def test_a_failed_load_leaves_its_error():
    assert registry_in(RegistryState.FAILED).failure.problems == ("broken",)


def test_a_draining_registry_still_answers():
    registry = registry_in(RegistryState.READY)
    registry.drain()

    assert registry.current().manifest.name == "fake"
    assert not registry.ready


@pytest.mark.parametrize("loader", [fake_model, failing])
def test_a_drain_observations_a_load_wins(loader):
    registry = ModelRegistry()

    def load_while_draining():
        registry.drain()
        return loader()

    registry.load([load_while_draining])
    assert RegistryState.DRAINING is registry.state


def test_a_defect_in_the_loader_is_a_failure_too():
    """The process that runs the service raises it, with its traceback; nothing waits for a model that never comes."""
    registry = ModelRegistry()
    registry.load([lambda: 1 // 0])

    assert registry.state is RegistryState.FAILED
    assert isinstance(registry.failure, ZeroDivisionError)


def named(name):
    """A loader of a model of that name."""

    def load():
        model = fake_model()
        model.manifest = dataclasses.replace(model.manifest, name=name)
        return model

    return load


def test_the_first_model_is_the_default_and_each_answers_to_its_name():
    registry = ModelRegistry()
    registry.load([named("b"), named("a"), named("c")])

    assert [model.manifest.name for model in registry.models] == ["b", "a", "c"]
    assert registry.current() is registry.current("b")
    assert {name: registry.current(name).manifest.name for name in "abc"} == {"a": "a", "b": "b", "c": "c"}


def test_models_are_loaded_one_after_another_and_none_answers_before_all_can():
    registry, observations = ModelRegistry(), []

    def observed(name):
        def load():
            observations.append((name, registry.state, registry.models))
            return named(name)()

        return load

    registry.load([observed("a"), observed("b")])
    assert observations == [("a", RegistryState.LOADING, []), ("b", RegistryState.LOADING, [])]


def test_one_model_that_fails_fails_them_all():
    registry = ModelRegistry()
    registry.load([named("a"), failing, named("c")])

    assert (registry.state, registry.failure.problems, registry.models) == (RegistryState.FAILED, ("broken",), [])
    with pytest.raises(NotReady):
        registry.current("a")


def test_each_model_keeps_its_own_loading_time():
    registry = ModelRegistry()

    def slow():
        time.sleep(0.05)
        return named("slow")()

    registry.load([named("quick"), slow])
    assert registry.loaded("slow").seconds >= 0.05 > registry.loaded("quick").seconds
    assert registry.loaded("slow").at > registry.loaded("quick").at
    assert registry.loaded() == registry.loaded("quick")


@pytest.mark.parametrize("name", ["", "A", "nobody", "a "])
def test_a_name_that_is_not_served_is_refused_with_the_names_that_are(name):
    """The error doesn't repeat the name that was asked for."""
    registry = ModelRegistry()
    registry.load([named("a"), named("b")])

    with pytest.raises(UnknownModel, match=r"model must be one of a, b$") as error:
        registry.current(name)
    (field,) = error.value.fields
    assert field.path == ("model",)
    assert "nobody" not in f"{error.value} {field.detail}"


def test_of_many_models_an_error_names_twenty():
    registry = ModelRegistry()
    registry.load([named(f"m{number:02}") for number in range(23)])

    with pytest.raises(UnknownModel) as error:
        registry.current("m23")
    assert re.findall(r"m\d\d", str(error.value)) == [f"m{number:02}" for number in range(20)]
    assert "3 more" in str(error.value)
