"""The constructor is the schema: a config node is checked against the signature of what its `_target_` names.

Nothing is built here. Every node is looked up, its keys are compared with the arguments, and values whose annotation is
simple (int, float, bool, str, Path, Literal, None, and lists, tuples and dicts of these) are compared with the annotation:
an int will do for a float, "abc" or 1.0 will not do for an int. All that is wrong is said at once, by config path.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

RESERVED = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}

# Import name of an optional dependency -> the extra of this package that brings it, and its name on the package index.
EXTRAS = {
    "datasets": ("data", "datasets"),
    "reasoning_gym": ("tasks", "reasoning-gym"),
    "matplotlib": ("viz", "matplotlib"),
    "jupytext": ("viz", "jupytext"),
    "ipykernel": ("viz", "ipykernel"),
    "nbclient": ("viz", "nbclient"),
    "hydra_plugins.hydra_joblib_launcher": ("sweep", "hydra-joblib-launcher"),
    "hydra_plugins.hydra_submitit_launcher": ("sweep", "hydra-submitit-launcher"),
    "peft": ("peft", "peft"),
    "openai": ("serve", "openai"),
    "fastapi": ("serve", "fastapi"),
    "uvicorn": ("serve", "uvicorn"),
    "accelerate": ("serve", "accelerate"),
    "inspect_ai": ("view", "inspect-ai"),
    "liger_kernel": ("bench", "liger-kernel"),
    "trl": ("dev", "trl"),
    "pytest": ("dev", "pytest"),
}

_ATOMS = {int, float, bool, str, Path, type(None), Any, object, list, tuple, dict}
_CONTAINERS = {list, tuple, dict, set, frozenset, Sequence, Mapping, Iterable}


class ConfigError(ValueError):
    """Something the user wrote in a config or an override; commands print the message alone, without a traceback."""


def closest(word: str, options: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the option nearest to `word`, or nothing."""
    near = difflib.get_close_matches(word, list(options), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""


def pip_hint(module: str) -> str:
    """How to get a missing module: the extra that brings it where this is a checkout, the package itself elsewhere."""
    checkout = (Path(__file__).resolve().parent.parent / "pyproject.toml").is_file()
    for name, (extra, package) in EXTRAS.items():
        if module == name or module.startswith(name + "."):
            return f"pip install -e '.[{extra}]' -c constraints.txt" if checkout else f"pip install {package}"
    return f"pip install {module.partition('.')[0]}"


def locate(target: str) -> Any:
    """The object a dotted path names. ConfigError says which part of the path is wrong, or which package is missing."""
    parts = target.split(".")
    found: Any = None
    for i, part in enumerate(parts):
        prefix = ".".join(parts[: i + 1])
        if found is not None and hasattr(found, part):
            found = getattr(found, part)
            continue
        try:
            found = importlib.import_module(prefix)
        except ModuleNotFoundError as error:
            parent = ".".join(parts[:i])
            if error.name == prefix or error.name == parent or (error.name and prefix.startswith(error.name + ".")):
                where = f"{parent} has no '{part}'" if parent else f"there is no module '{part}'"
                raise ConfigError(f"{where}{closest(part, dir(found))}") from error
            raise ConfigError(
                f"{prefix} needs the package '{error.name}', which is missing: {pip_hint(error.name or prefix)}"
            ) from error
    return found


def parameters(target: Callable) -> dict[str, inspect.Parameter] | None:
    """Arguments of a class or function by name; None where Python cannot tell (C functions)."""
    function = _function(target)
    try:
        found = dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None
    if inspect.isclass(target):
        found.pop(next(iter(found)))  # self
    return found


def _function(target: Callable) -> Callable:
    # A metaclass with its own __call__ (Lightning has some) hides the constructor from inspect.signature(cls).
    if not inspect.isclass(target):
        return target
    return target.__init__ if target.__init__ is not object.__init__ else target.__new__  # type: ignore[misc]


def validate(config: Any) -> None:
    """Raise one ConfigError with every problem in `config` (plain dicts and lists), or return."""
    found = list(problems(config))
    if found:
        raise ConfigError("\n".join(found))


def problems(node: Any, path: str = "") -> Iterator[str]:
    """Every unknown key and every value of the wrong type, one line each, depth first."""
    if isinstance(node, Mapping):
        if isinstance(node.get("_target_"), str):
            yield from _node_problems(node, path)
        for key, value in node.items():
            yield from problems(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from problems(value, f"{path}[{i}]")


def _node_problems(node: Mapping[str, Any], path: str) -> Iterator[str]:
    name = node["_target_"]
    try:
        target = locate(name)
    except ConfigError as error:
        yield f"{path}._target_={name}: {error}"
        return
    if not callable(target):
        yield f"{path}._target_={name}: expected a class or function, found {type(target).__name__}"
        return
    known = parameters(target)
    if known is None:
        return
    open_ended = any(p.kind is p.VAR_KEYWORD for p in known.values())
    names = [n for n, p in known.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    for key, value in node.items():
        if key in RESERVED:
            continue
        if key in names:
            wrong = type_problem(value, annotation(target, known[key]))
            if wrong:
                yield f"{path}.{key}={value!r}: {wrong}"
        elif not open_ended:
            yield f"{path}.{key}={value!r}: {name} has no argument '{key}'{closest(key, names)} It takes: {', '.join(names)}"


def annotation(target: Callable, parameter: inspect.Parameter) -> Any:
    """The type of a parameter, or None where it cannot be known without imports that only type checkers make."""
    hint = parameter.annotation
    if isinstance(hint, str):
        function = inspect.unwrap(_function(target))
        try:
            hint = eval(hint, getattr(function, "__globals__", {}))
        except Exception:  # a name imported under TYPE_CHECKING: not a simple type either
            return None
    return None if hint is inspect.Parameter.empty else hint


def type_problem(value: Any, hint: Any) -> str | None:
    """What is wrong with `value` where `hint` is asked for, or None. Types that are not simple are not judged."""
    if hint is None or not _simple(hint) or _holds_node(value):
        return None
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        return None
    try:
        # JSON mode: strict about types, yet a list will do for a tuple and an int for a float, as YAML has no others.
        TypeAdapter(hint).validate_json(text, strict=True)
    except ValidationError as error:
        detail = "; ".join(dict.fromkeys(e["msg"].replace("Input should be", "should be") for e in error.errors()))
        return f"expected {_spell(hint)}, got {type(value).__name__} ({detail})"
    return None


def _simple(hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is None:
        return hint in _ATOMS if hint.__hash__ else False
    if origin is typing.Literal:
        return True
    if origin is typing.Annotated:
        return _simple(arguments[0])
    if origin in (typing.Union, types.UnionType) or origin in _CONTAINERS:
        return all(a is Ellipsis or _simple(a) for a in arguments)
    return False


def _holds_node(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "_target_" in value or any(map(_holds_node, value.values()))
    return isinstance(value, list | tuple) and any(map(_holds_node, value))


def _spell(hint: Any) -> str:
    text = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
    return text.replace("typing.", "").replace("collections.abc.", "").replace("pathlib.", "")
