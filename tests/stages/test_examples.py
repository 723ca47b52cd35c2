"""The order of supervised examples: complete, keyed, resumable."""

from __future__ import annotations

import pytest

from r1.stages.examples import Example, ExampleLoader

EXAMPLES = [Example([0], [i] * (1 + i % 5)) for i in range(40)]  # lengths 2 .. 6


def ids(steps: list[list[Example]]) -> list[list[int]]:
    return [[example.completion_ids[0] for example in step] for step in steps]


def test_an_epoch_holds_every_example_once_and_no_step_is_too_large():
    loader = ExampleLoader(EXAMPLES, tokens_per_step=24, epochs=1)
    steps = list(loader)
    assert sorted(i for step in ids(steps) for i in step) == list(range(40))
    assert all(len(step) * max(e.length for e in step) <= 24 for step in steps)
    assert len(steps) == len(loader)


def test_epochs_differ_and_seeds_differ():
    two = ids(list(ExampleLoader(EXAMPLES, 24, epochs=2)))
    half = len(two) // 2
    assert sorted(i for step in two[:half] for i in step) == list(range(40))
    assert two[:half] != two[half:]
    assert ids(list(ExampleLoader(EXAMPLES, 24, epochs=1, seed=1))) != two[:half]


@pytest.mark.parametrize("stop", [1, 3, 8, 13])
def test_a_loader_goes_on_where_it_stopped(stop: int):
    whole = ids(list(ExampleLoader(EXAMPLES, 24, steps=16)))
    first = ExampleLoader(EXAMPLES, 24, steps=16)
    iterator = iter(first)
    for _ in range(stop):
        next(iterator)
    second = ExampleLoader(EXAMPLES, 24, steps=16)
    second.load_state_dict(first.state_dict())
    assert ids(list(second)) == whole[stop:]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(examples=[], steps=1), "no examples"),
        (dict(examples=EXAMPLES), "either `steps` or `epochs`"),
        (dict(examples=EXAMPLES, steps=1, epochs=1), "either `steps` or `epochs`"),
        (dict(examples=EXAMPLES, steps=1, tokens_per_step=3), "longest example has 6"),
    ],
)
def test_bad_arguments_say_what_to_do(arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        ExampleLoader(**{"tokens_per_step": 24, **arguments})
