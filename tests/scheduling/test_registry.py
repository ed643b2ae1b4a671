"""Every legal step of the slot, and every illegal one refused."""

import dataclasses
import itertools
import re
import time

import pytest

from recoserve.errors import BundleInvalid, NotReady, UnknownModel
from recoserve.scheduling.registry import Slot, State
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
    """A slot brought there by legal steps alone."""
    slot = Slot()
    if state is State.DRAINING:
        slot.drain()
    elif state is State.READY:
        slot.load([fake_model])
    elif state is State.FAILED:
        slot.load([failing])
    elif state is State.LOADING:
        slot.state = State.LOADING
    return slot


def attempt(slot, to):
    """The public call that leads to a state."""
    if to is State.DRAINING:
        slot.drain()
    else:
        slot.load([failing if to is State.FAILED else fake_model])


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
    slot, during = Slot(), []

    def loader():
        during.append((slot.state, slot.ready, slot.started))
        return fake_model()

    slot.load([loader])
    assert during == [(State.LOADING, False, False)]
    assert (slot.state, slot.ready, slot.started) == (State.READY, True, True)


@pytest.mark.parametrize("state", [State.EMPTY, State.LOADING, State.FAILED])
def test_without_a_model_there_is_no_answer(state):
    with pytest.raises(NotReady):
        slot_in(state).current()


def test_a_failure_is_kept():
    assert slot_in(State.FAILED).failure.problems == ("broken",)


def test_a_draining_slot_still_answers():
    slot = slot_in(State.READY)
    slot.drain()

    assert slot.current().manifest.name == "fake"
    assert not slot.ready


@pytest.mark.parametrize("loader", [fake_model, failing])
def test_a_drain_that_overtakes_a_load_wins(loader):
    slot = Slot()

    def overtaken():
        slot.drain()
        return loader()

    slot.load([overtaken])
    assert State.DRAINING is slot.state


def test_a_defect_in_the_loader_is_a_failure_too():
    """The process that runs the service raises it, with its traceback; nothing waits for a model that never comes."""
    slot = Slot()
    slot.load([lambda: 1 // 0])

    assert slot.state is State.FAILED
    assert isinstance(slot.failure, ZeroDivisionError)


def named(name):
    """A loader of a model of that name."""

    def load():
        model = fake_model()
        model.manifest = dataclasses.replace(model.manifest, name=name)
        return model

    return load


def test_the_first_model_is_the_default_and_each_answers_to_its_name():
    slot = Slot()
    slot.load([named("b"), named("a"), named("c")])

    assert [model.manifest.name for model in slot.models] == ["b", "a", "c"]
    assert slot.current() is slot.current("b")
    assert {name: slot.current(name).manifest.name for name in "abc"} == {"a": "a", "b": "b", "c": "c"}


def test_models_are_loaded_one_after_another_and_none_answers_before_all_can():
    slot, during = Slot(), []

    def observed(name):
        def load():
            during.append((name, slot.state, slot.models))
            return named(name)()

        return load

    slot.load([observed("a"), observed("b")])
    assert during == [("a", State.LOADING, []), ("b", State.LOADING, [])]


def test_one_model_that_fails_fails_them_all():
    slot = Slot()
    slot.load([named("a"), failing, named("c")])

    assert (slot.state, slot.failure.problems, slot.models) == (State.FAILED, ("broken",), [])
    with pytest.raises(NotReady):
        slot.current("a")


def test_each_model_keeps_its_own_loading_time():
    slot = Slot()

    def slow():
        time.sleep(0.05)
        return named("slow")()

    slot.load([named("quick"), slow])
    assert slot.loaded("slow").seconds >= 0.05 > slot.loaded("quick").seconds
    assert slot.loaded("slow").at > slot.loaded("quick").at
    assert slot.loaded() == slot.loaded("quick")


@pytest.mark.parametrize("name", ["", "A", "nobody", "a "])
def test_a_name_that_is_not_served_is_refused_with_those_that_are(name):
    """The name that was asked for is not told back."""
    slot = Slot()
    slot.load([named("a"), named("b")])

    with pytest.raises(UnknownModel, match=r"model must be one of a, b$") as refused:
        slot.current(name)
    (field,) = refused.value.fields
    assert field.path == ("model",)
    assert "nobody" not in f"{refused.value} {field.detail}"


def test_of_many_models_an_error_names_twenty():
    slot = Slot()
    slot.load([named(f"m{number:02}") for number in range(23)])

    with pytest.raises(UnknownModel) as refused:
        slot.current("m23")
    assert re.findall(r"m\d\d", str(refused.value)) == [f"m{number:02}" for number in range(20)]
    assert "3 more" in str(refused.value)
