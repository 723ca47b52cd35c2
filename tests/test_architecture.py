"""Arrows point one way: who may import whom, read from the imports themselves."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent

# Each layer may import the ones above it in this list, and nothing of its own layer.
LAYERS: list[set[str]] = [
    {"records"},
    {"repro", "metrics", "files", "checkpoints"},
    {"grading", "tasks", "policy", "sandbox"},
    {"rewards", "rollout"},
    {"losses"},
    {"stages"},
    {"pipeline"},
]
# They watch training and never take part in it: they see everything down to rewards and rollout, and each other.
WATCHERS = {"analysis", "evaluation", "callbacks", "loggers", "serving"}
SEEN_BY_WATCHERS = set().union(*LAYERS[:4])
# The only ones that know Hydra. Whatever is below can be used from a notebook without it.
PLUMBING = {"redact", "schema", "config_help", "build", "app"}
# They put parts together: anything may be imported here, and nobody imports them.
TOP = {"run", "resume", "demo", "commands", "__main__", "pipeline"}


def modules() -> Iterator[tuple[str, Path]]:
    """(name of the package or top-level module, file) for every file of r1."""
    for file in sorted((REPO / "r1").rglob("*.py")):
        name = file.relative_to(REPO / "r1").parts[0].removesuffix(".py")
        if name != "__init__":
            yield name, file


def imports(file: Path, root: str) -> set[str]:
    """Second part of every absolute import of `root`, type-only ones included: a direction is a direction."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == root else [str(node.module)]
        else:
            continue
        found |= {name.split(".")[1] if "." in name else "" for name in names if name.split(".")[0] == root}
    return found


def allowed(name: str) -> set[str]:
    if name in TOP - {"pipeline"}:
        return {other for other, _ in modules()}
    if name in WATCHERS:
        return SEEN_BY_WATCHERS | WATCHERS
    if name in PLUMBING:
        return PLUMBING | {"files"}  # which knows nothing but the disk
    depth = next(i for i, layer in enumerate(LAYERS) if name in layer)
    below = set().union(*LAYERS[:depth])
    return below | WATCHERS | PLUMBING | {"run"} if name == "pipeline" else below


def test_every_package_has_its_place() -> None:
    known = set().union(*LAYERS, WATCHERS, PLUMBING, TOP)
    assert {name for name, _ in modules()} <= known, "name a new package in this file, and with it what it may import"


def test_imports_point_one_way() -> None:
    wrong = []
    for name, file in modules():
        for other in sorted(imports(file, "r1") - allowed(name) - {name, ""}):
            wrong.append(f"{file.relative_to(REPO)} imports r1.{other}")
    assert not wrong


def test_no_module_is_imported_in_a_circle() -> None:
    names = {".".join(file.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__"): file for _, file in modules()}
    graph = {name: imported_modules(file, name, set(names)) for name, file in names.items()}
    list(graphlib.TopologicalSorter(graph).static_order())  # CycleError names the circle


def imported_modules(file: Path, name: str, known: set[str]) -> set[str]:
    """What importing a module imports of r1: its top-level imports, and the packages they lie in, but for the ones it lies in."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    found |= {other.rpartition(".")[0] for other in found}
    return {other for other in found & known if not f"{name}.".startswith(f"{other}.")}


def test_kernels_stand_alone() -> None:
    for file in sorted((REPO / "kernels").rglob("*.py")):
        if "bench" not in file.parts:  # a benchmark may compare with what r1 does
            tree = ast.parse(file.read_text(encoding="utf-8"))
            roots = {alias.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
            roots |= {str(n.module).split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
            assert not roots & {"r1", "lightning", "transformers", "hydra"}, file.name


def test_hydra_stays_in_its_place() -> None:
    for name, file in modules():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute | ast.Name) and "instantiate" in ast.dump(n)]
        assert not calls or file.name == "build.py", f"{file.name}: r1.build.build is the only caller of instantiate"
        if name not in PLUMBING:
            at_run_time = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
            roots = {a.name.split(".")[0] for n in at_run_time if isinstance(n, ast.Import) for a in n.names}
            roots |= {str(n.module).split(".")[0] for n in at_run_time if isinstance(n, ast.ImportFrom)}
            assert not roots & {"hydra", "omegaconf"}, f"{file.relative_to(REPO)} should take plain arguments"


def test_no_module_hides_the_standard_library() -> None:
    # A rank that Lightning starts runs r1/__main__.py as a script, with r1/ itself first on the path.
    names = {path.stem for path in (REPO / "r1").iterdir()} - {"__init__", "__main__", "__pycache__"}
    assert not names & sys.stdlib_module_names


@pytest.mark.parametrize("module", ["r1.records", "r1.grading", "r1.commands.score", "r1.commands.doctor", "r1.metrics"])
def test_light_modules_do_not_import_torch(module: str) -> None:
    if not (REPO / module.replace(".", "/")).with_suffix(".py").exists() and not (REPO / module.replace(".", "/")).is_dir():
        pytest.fail(f"{module} is gone: take it out of this list")
    code = f"import {module}, sys; print([m for m in ('torch', 'transformers', 'lightning') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert out.strip() == "[]"
