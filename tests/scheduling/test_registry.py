"""Every legal step of the registry, and every illegal one refused."""

import dataclasses
import itertools
import re
import time

import pytest

from recoserve.errors import BundleInvalid, NotReady, UnknownModel
from recoserve.scheduling.registry import ModelRegistry, State
from tests.fakes import fake_model

LEGAL = {
    (State.EMPTY, State.LOADING),
    (State.LOADING, State.READY),
    (State.LOADING, State.FAILED),
    (State.EMPTY, State.DRAINING),
    (State.LOADING, State.DRAINING),
    (State.READY, State.DRAINING),
    (State.FAILED, State.DRAINING),
}


def failing():
    raise BundleInvalid(["broken"])


def slot_in(state):
    """A registry brought there by legal steps alone."""
    registry = ModelRegistry()
    if state is State.DRAINING:
        registry.drain()
    elif state is State.READY:
        registry.load([fake_model])
    elif state is State.FAILED:
        registry.load([failing])
    elif state is State.LOADING:
        registry.state = State.LOADING
    return registry


def attempt(registry, to):
    """The public call that leads to a state."""
    if to is State.DRAINING:
        registry.drain()
    else:
        registry.load([failing if to is State.FAILED else fake_model])


@pytest.mark.parametrize(
    ("start", "to"), [step for step in itertools.product(State, [State.READY, State.DRAINING]) if step not in LEGAL]
)
def test_an_illegal_step_is_a_defect(start, to):
    if (start, to) == (State.EMPTY, State.READY):
        return assert_loading_passes_through()
    with pytest.raises(RuntimeError, match="no way from"):
        attempt(slot_in(start), to)
    return None


def assert_loading_passes_through():
    """EMPTY reaches READY only by way of LOADING."""
    registry, during = ModelRegistry(), []

    def loader():
        during.append((registry.state, registry.ready, registry.started))
        return fake_model()

    registry.load([loader])
    assert during == [(State.LOADING, False, False)]
    assert (registry.state, registry.ready, registry.started) == (State.READY, True, True)


@pytest.mark.parametrize("state", [State.EMPTY, State.LOADING, State.FAILED])
def test_without_a_model_there_is_no_answer(state):
    with pytest.raises(NotReady):
        slot_in(state).current()


def test_a_failure_is_kept():
    assert slot_in(State.FAILED).failure.problems == ("broken",)


def test_a_draining_slot_still_answers():
    registry = slot_in(State.READY)
    registry.drain()

    assert registry.current().manifest.name == "fake"
    assert not registry.ready


@pytest.mark.parametrize("loader", [fake_model, failing])
def test_a_drain_that_overtakes_a_load_wins(loader):
    registry = ModelRegistry()

    def overtaken():
        registry.drain()
        return loader()

    registry.load([overtaken])
    assert State.DRAINING is registry.state


def test_a_defect_in_the_loader_is_a_failure_too():
    """The process that runs the service raises it, with its traceback; nothing waits for a model that never comes."""
    registry = ModelRegistry()
    registry.load([lambda: 1 // 0])

    assert registry.state is State.FAILED
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
    registry, during = ModelRegistry(), []

    def observed(name):
        def load():
            during.append((name, registry.state, registry.models))
            return named(name)()

        return load

    registry.load([observed("a"), observed("b")])
    assert during == [("a", State.LOADING, []), ("b", State.LOADING, [])]


def test_one_model_that_fails_fails_them_all():
    registry = ModelRegistry()
    registry.load([named("a"), failing, named("c")])

    assert (registry.state, registry.failure.problems, registry.models) == (State.FAILED, ("broken",), [])
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
def test_a_name_that_is_not_served_is_refused_with_those_that_are(name):
    """The name that was asked for is not told back."""
    registry = ModelRegistry()
    registry.load([named("a"), named("b")])

    with pytest.raises(UnknownModel, match=r"model must be one of a, b$") as refused:
        registry.current(name)
    (field,) = refused.value.fields
    assert field.path == ("model",)
    assert "nobody" not in f"{refused.value} {field.detail}"


def test_of_many_models_an_error_names_twenty():
    registry = ModelRegistry()
    registry.load([named(f"m{number:02}") for number in range(23)])

    with pytest.raises(UnknownModel) as refused:
        registry.current("m23")
    assert re.findall(r"m\d\d", str(refused.value)) == [f"m{number:02}" for number in range(20)]
    assert "3 more" in str(refused.value)
