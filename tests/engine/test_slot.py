"""Every legal step of the slot, and every illegal one refused."""

import itertools

import pytest

from service.engine.slot import Slot, State
from service.errors import BundleInvalid, NotReady
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
