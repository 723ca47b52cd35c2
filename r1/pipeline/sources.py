"""Which code a node depends on: the source files that its parts are made of, found by reading imports.

From the module of each `_target_` in a node's config, imports are followed through this package (and through modules of the
user's own, outside site-packages): those at the top of a file and those inside functions, but not those that only type checkers
make. A name imported from a package is followed to the file that defines it, so a stage that uses `Reward` does not depend on
every reward there is. Of each file, what counts is the code: comments, docstrings and layout may change freely. A file of data that code reads from beside
itself counts whole.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

OURS = ("r1", "r1_kernels")


def digests(modules: Sequence[str], follow: bool = True) -> dict[str, str]:
    """Module -> digest of its code, for these modules and, if `follow`, all that they import of ours."""
    found: dict[str, str] = {}
    waiting = [module for module in modules if _file(module)]
    while waiting:
        module = waiting.pop()
        if module not in found:
            file = _file(module)
            found[module] = _digest(str(file))
            found |= {f"{module}: {path.name}": hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in _beside(file)}
            if follow:
                waiting += _imported(module)
    return dict(sorted(found.items()))


def module_of(target: str) -> list[str]:
    """The module that defines what a dotted path names (`r1.stages.SFT` -> `r1.stages.sft`); nothing for what is not ours."""
    parts = target.split(".")
    for end in range(len(parts) - 1, 0, -1):
        if _file(".".join(parts[:end])):
            return list(_definers(".".join(parts[:end]), parts[end]))
    return []


@cache
def _file(module: str) -> Path | None:
    """The source file of a module that is ours; None for the standard library, installed packages and what is no module."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    file = Path(spec.origin).resolve()
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib")}
    ours = module.partition(".")[0] in OURS or not any(file.is_relative_to(folder) for folder in installed)
    return file if ours else None


@cache
def _digest(file: str) -> str:
    return hashlib.sha256(code_of(Path(file).read_text(encoding="utf-8")).encode()).hexdigest()[:16]


@cache
def _beside(file: Path) -> tuple[Path, ...]:
    """Files of data beside this one that it reads: `Path(__file__).with_name("examples.jsonl")`."""
    calls = (node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    named = (
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == "with_name"
        and call.args
        and isinstance(call.args[0], ast.Constant)
    )
    return tuple(path for name in named if (path := file.with_name(str(name))).is_file())


def code_of(source: str) -> str:
    """Python source without comments, docstrings and layout.

    >>> code_of('def f(x):\\n    "Doubles."\\n    return 2*x  # twice')
    'def f(x):\\n    return 2 * x'
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, False
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


@cache
def _imported(module: str) -> tuple[str, ...]:
    """The modules of ours that this one imports, each name followed to where it is defined."""
    file = _file(module)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found: dict[str, None] = {}
    for node in _at_run_time(tree):
        if isinstance(node, ast.Import):
            found |= dict.fromkeys(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(module, file, node)
            for alias in node.names:
                found |= dict.fromkeys(_definers(source, alias.name))
    return tuple(name for name in found if _file(name))


def _definers(package: str, name: str) -> Iterator[str]:
    """Where `from package import name` comes from: a submodule, the module a package re-exports it from, or the module itself."""
    file = _file(package)
    if file is None:
        return
    if _file(f"{package}.{name}"):
        yield f"{package}.{name}"
        return
    if file.name == "__init__.py":
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and any(name in (a.asname, a.name) for a in node.names):
                original = next(a.name for a in node.names if name in (a.asname, a.name))
                yield from _definers(_absolute(package, file, node), original)
                return
    yield package


def _absolute(module: str, file: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return str(node.module)
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for _ in range(node.level - 1):
        package = package.rpartition(".")[0]
    return f"{package}.{node.module}" if node.module else package


def _at_run_time(tree: ast.AST) -> Iterable[ast.AST]:
    """Every node of a file but those under `if TYPE_CHECKING:`."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        children = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            children = list(node.orelse)
        waiting += children
