"""Say what works on this machine, what is missing and how to get it.

`r1 doctor` prints a table and answers 0 when everything that training needs is there; `--json` prints the same as one object.
`r1 doctor rollout=vllm_http policy=... ` (any keys of `r1 train`) samples with that engine instead, scores the samples with the
trainer's own forward pass, and answers 1 where the two do not agree: worth a minute before a run of days.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from r1.build import CONF, wandb_offline
from r1.schema import EXTRAS, pip_hint

_CONSTRAINTS = CONF.parent / "constraints.txt"  # beside a checkout's conf/; a wheel has none
_CORE = ["torch", "lightning", "hydra-core", "transformers", "wandb", "triton", "math-verify", "pydantic", "rich", "zstandard"]


def main(argv: Sequence[str] = ()) -> int:
    """0 when the core works, 1 when something that training needs is missing."""
    parser = argparse.ArgumentParser(prog="r1 doctor", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for r1 train: compare its sampler with its trainer")
    options = parser.parse_args(list(argv))
    if options.overrides:
        return _compare(options.overrides, options.json)
    found = examine()
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        _print(found)
    return 0 if found["ok"] else 1


def _compare(overrides: Sequence[str], as_json: bool, prompts: int = 8, samples: int = 4) -> int:
    """Sampler against trainer on a few problems of the run that these overrides describe. 0 where they agree."""
    from dataclasses import asdict, replace
    from tempfile import TemporaryDirectory

    from r1.build import ConfigError, build, build_with, compose
    from r1.policy.placement import AUTO, sampling_on
    from r1.rollout.agreement import agreement

    with TemporaryDirectory(prefix="r1-doctor-") as folder:
        try:
            cfg = compose("train", overrides, run_dir=folder)
            policy = build(cfg.policy, template=build(cfg.template))
            engine, sampling = build_with(cfg.rollout, policy=policy), build(cfg.stage.get("sampling"))
            if sampling is None:
                raise ConfigError(f"only stages that sample have a sampler to compare; {cfg.stage._target_} has no `sampling`")
            sampling = replace(sampling, max_new_tokens=min(sampling.max_new_tokens, 256))
            with sampling_on(policy, AUTO if cfg.trainer.accelerator == "gpu" else "cpu"):
                found = agreement(policy, engine, build(cfg.task).train[:prompts], samples, sampling, cfg.seed)
        except (ConfigError, ConnectionError, ValueError) as error:
            print(f"r1 doctor: {error}", file=sys.stderr)
            return 1
    print(json.dumps(asdict(found) | {"ok": found.ok}, indent=2) if as_json else found.text())
    return 0 if found.ok else 1


def examine() -> dict[str, Any]:
    """Everything the table shows. `ok` is whether training can start; `advice` is what a person could do, most urgent first."""
    packages, devices, extras = _packages(), _devices(), _extras()
    missing = [name for name, found in packages.items() if found["version"] is None]
    advice = [f"{name} is missing: pip install -e . -c constraints.txt" for name in missing]
    advice += [
        f"{name} {found['version']} is not the tested {found['tested']}; if something fails, try that one"
        for name, found in packages.items()
        if found["version"] and found["tested"] not in (None, found["version"])
    ]
    if "error" in devices:
        advice.insert(0, f"torch does not work: {devices['error']}")
    elif not devices["gpus"] and shutil.which("nvidia-smi"):
        advice.append(
            "there is an NVIDIA driver, but this torch does not see a GPU: is it a CPU build? pip install --force-reinstall torch"
        )
    sandbox = shutil.which("bwrap")
    if sandbox is None:
        advice.append("bubblewrap is missing, so code rewards cannot run programs: apt-get install bubblewrap")
    free = shutil.disk_usage(".").free / 1e9
    if free < 5:
        advice.append(f"{free:.1f} GB of disk left here; checkpoints and traces of a long run want more")
    return {
        "ok": not missing and "error" not in devices,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "devices": devices,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": _memory_gb(),
        "disk_free_gb": round(free, 1),
        "extras": extras,
        "bubblewrap": sandbox,
        "wandb": "offline: runs are written to disk, `wandb sync` uploads them" if wandb_offline() else "online",
        "conf": str(CONF),
        "advice": advice,
    }


def _packages() -> dict[str, dict[str, str | None]]:
    tested = {}
    if _CONSTRAINTS.is_file():
        pins = re.findall(r"^([\w.-]+)==(\S+)", _CONSTRAINTS.read_text(encoding="utf-8"), flags=re.MULTILINE)
        tested = {_canonical(name): version for name, version in pins}
    core = [name for name in _CORE if name != "triton" or sys.platform == "linux"]
    return {name: {"version": _version(name), "tested": tested.get(_canonical(name))} for name in core}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name).partition("+")[0]  # 2.13.0+cpu is 2.13.0
    except metadata.PackageNotFoundError:
        return None


def _devices() -> dict[str, Any]:
    try:
        import torch
    except Exception as error:  # a broken driver or library raises anything; the doctor's task is to report it
        return {"error": f"{type(error).__name__}: {error}"}
    gpus = []
    for i in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(i)
        gpus.append({"name": properties.name, "memory_gb": round(properties.total_memory / 1e9, 1)})
    mps = getattr(torch.backends, "mps", None)
    return {
        "gpus": gpus,
        "cuda": torch.version.cuda,
        "bf16": bool(gpus) and torch.cuda.is_bf16_supported(),
        "mps": bool(mps and mps.is_available()),
        "threads": torch.get_num_threads(),
        "kernels": "triton" if gpus and importlib.util.find_spec("triton") else "torch reference",
    }


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _extras() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for module, (extra, _) in EXTRAS.items():
        entry = found.setdefault(extra, {"missing": [], "get": pip_hint(module)})
        if not _importable(module):
            entry["missing"].append(module)
    return found


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the parent of a dotted name is missing
        return False


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("python", f"{found['python']}, {found['platform']}")
    for name, package in found["packages"].items():
        tested = package["tested"]
        note = "" if tested in (None, package["version"]) else f"  [yellow](tested: {tested})[/yellow]"
        table.add_row(name, (package["version"] or "[red]missing[/red]") + note)
    devices = found["devices"]
    gpus = ", ".join(f"{gpu['name']} {gpu['memory_gb']} GB" for gpu in devices.get("gpus", []))
    table.add_row("devices", devices.get("error") or gpus or ("Apple GPU (mps)" if devices["mps"] else "CPU only"))
    table.add_row("kernels", devices.get("kernels", "-"))
    table.add_row("cores", f"{found['cores']}, {devices.get('threads', '?')} threads; {found['memory_gb']} GB memory")
    table.add_row("disk", f"{found['disk_free_gb']} GB free here")
    table.add_row("bubblewrap", found["bubblewrap"] or "[yellow]missing[/yellow]")
    table.add_row("W&B", found["wandb"])
    table.add_row("configs", found["conf"])
    for extra, entry in found["extras"].items():
        missing = ", ".join(entry["missing"])
        table.add_row(f"extra {extra}", "there" if not missing else f"without {missing}: {entry['get']}".replace("[", r"\["))
    console = Console(highlight=False)
    console.print(table)
    for line in found["advice"]:
        console.print(f"- {line}", markup=False)
    console.print("[green]ready to train[/green]" if found["ok"] else "[red]not ready: see above[/red]")
