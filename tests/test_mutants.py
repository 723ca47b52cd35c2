"""The list of planted bugs itself: each still fits the code, and each of the 52 is planted or its absence explained."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def mutants() -> ModuleType:
    spec = importlib.util.spec_from_file_location("r1_mutants", Path(__file__).with_name("mutants.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_mutant_still_fits(mutants: ModuleType) -> None:
    assert mutants.misfits() == []


def test_every_bug_is_planted_or_its_absence_explained(mutants: ModuleType) -> None:
    planted = set(mutants.covered())
    assert planted | set(mutants.ELSEWHERE) == set(range(1, 53))
    assert not planted & set(mutants.ELSEWHERE)


def test_every_test_that_a_mutant_names_is_there(mutants: ModuleType) -> None:
    files = {name for mutant in mutants.MUTANTS for name in mutant.tests.split(" or ")}
    assert [name for name in sorted(files) if not (mutants.REPO / name).is_file()] == []
