"""Write a trained policy as a Hugging Face folder: weights, tokenizer, chat template, generation config, model card, licence.

    r1 export runs/tiny_r1_zero/2026-01-01_12-00-00 --out tiny-r1-zero
    r1 export runs/.../checkpoints/last.ckpt --out at-step-40
    r1 export some/hf_folder --template r1_zero --out served

Takes the folder of a run (or of a pipeline's node), one of its checkpoints, or a Hugging Face folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r1.analysis.reading import Run
    from r1.policy import Policy


def main(argv: list[str]) -> int:
    """0 when the folder was written, 1 where it could not be."""
    options = _options(argv)
    try:
        path = _export(options)
    except (ValueError, OSError) as error:
        print(f"r1 export: {error}", file=sys.stderr)
        return 1
    print(path)
    return 0


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="r1 export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("source", type=Path, help="run folder, checkpoint (.ckpt) or Hugging Face folder")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write; must be new or empty")
    parser.add_argument("--name", help="the model's name in its card (default: that of the folder)")
    parser.add_argument(
        "--template", help="prompt template of training, by name, where the source does not say: r1_zero, tiny, plain, chat"
    )
    parser.add_argument(
        "--thought", choices=("strip", "keep"), default="strip", help="thoughts of earlier turns in the chat template (default: %(default)s, as DeepSeek's)"
    )  # fmt: skip
    parser.add_argument(
        "--temperature", type=float, default=0.6, help="of the generation config (default: %(default)s, the paper's; 0 is greedy)"
    )
    parser.add_argument("--top-p", type=float, default=0.95, help="(default: %(default)s, the paper's)")
    parser.add_argument("--max-new-tokens", type=int, help="(default: what the run sampled with)")
    parser.add_argument(
        "--eval", type=Path, nargs="+", default=[], metavar="DIR", help="folders of r1 eval on these weights, for the card"
    )
    parser.add_argument("--license", metavar="ID", help="of the weights (default: the base model's; from scratch: apache-2.0)")
    parser.add_argument("--license-file", type=Path, metavar="FILE", help="its text")
    return parser.parse_args(argv)


def _export(options: argparse.Namespace) -> Path:
    import transformers

    from r1.serving.export import Generation, export, sampled_tokens
    from r1.serving.licence import find_licence, of_folder

    transformers.utils.logging.disable_progress_bar()
    policy, run, checkpoint, folder = load(options.source, options.template)
    config = run.config if run else {}
    limit = sampled_tokens(config) if options.max_new_tokens is None else options.max_new_tokens
    said = options.license or options.license_file
    licence = find_licence(config, options.license, options.license_file) if said or run else of_folder(folder)
    return export(
        policy,
        options.out,
        run=run,
        thought=options.thought,
        generation=Generation(options.temperature, options.top_p, limit),
        name=options.name,
        licence=licence,
        checkpoint=checkpoint,
        evaluations=options.eval,
    )


def load(source: Path, template: str | None = None) -> tuple[Policy, Run | None, str | None, Path]:
    """(policy, its run, name of the checkpoint, folder of the weights) of what a user points at.

    Raises ValueError where there is no model, where there are several, and where nothing says which template was trained with.
    """
    from r1.analysis.reading import read_stage
    from r1.policy import Policy

    if source.suffix == ".ckpt":
        return _of_checkpoint(source, template)
    folder = _model_folder(source)
    if "ForSequenceClassification" in str(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures")):
        raise ValueError(_scores(folder))
    run = read_stage(folder.parent)
    known = run if run.config else None
    return Policy.load(folder, _template(known, folder, template), dtype="auto"), known, None, folder


def _scores(what: Path) -> str:
    return (
        f"{what} is a preference model: it scores texts and writes none, so it is not exported; transformers loads the hf folder of its "
        f"run as it is (AutoModelForSequenceClassification)"
    )


def _model_folder(source: Path) -> Path:
    if not source.is_dir():
        raise ValueError(f"no folder {source}: expected a run, a checkpoint (.ckpt) or a Hugging Face folder")
    for folder in (source, source / "hf"):
        if (folder / "config.json").is_file():
            return folder
    found = [path.parent for path in sorted(source.rglob("hf/config.json"))]
    if len(found) > 1:
        raise ValueError(
            f"there are {len(found)} models in {source}: name one of\n" + "\n".join(f"  {path.parent}" for path in found)
        )
    if not found:
        raise ValueError(
            f"no model in {source}: expected config.json and weights, or hf/ with them, which a run writes when it ends "
            f"(of one that has not, export checkpoints/last.ckpt)"
        )
    return found[0]


def _of_checkpoint(path: Path, template: str | None) -> tuple[Policy, Run, str, Path]:
    """The policy as the run's configuration builds it, with the checkpoint's weights in it."""
    import pickle

    import torch

    from r1.analysis.reading import read_stage
    from r1.build import build

    if not path.is_file():
        raise ValueError(
            f"{path} is a sharded checkpoint: export the run's folder" if path.is_dir() else f"no checkpoint at {path}"
        )
    run = next((found for folder in path.resolve().parents if (found := read_stage(folder)).config), None)
    if run is None or "policy" not in run.config:
        raise ValueError(
            f"no run around {path}: the policy is built from the run's config.yaml, so export it where it was written"
        )
    policy = build(run.config["policy"], template=_template(run, path.parent, template))
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        own = {name.removeprefix("policy."): value for name, value in state["state_dict"].items() if name.startswith("policy.")}
        if "model.score.weight" in own:
            raise ValueError(_scores(path))
        policy.load_state_dict(own)
    except (RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is not a whole checkpoint of the run in {run.folder}: {error}") from error
    ours = state.get("r1", {})
    step = ours.get("state", ours).get("rollout_step", state.get("global_step"))
    return policy, run, f"{path.stem} (step {step})", path.parent


def _template(run: Run | None, folder: Path, name: str | None) -> Any:
    """What the user names, else the run's template, else the chat template that the folder brings."""
    from r1.build import build
    from r1.policy import Template
    from r1.policy.prompts import named

    if name is not None:
        return named(name)
    if run is not None and run.config.get("template"):
        return build(run.config["template"])
    return Template("chat", None, opened=_opens(folder))


def _opens(folder: Path) -> bool:
    from transformers import AutoTokenizer

    from r1.serving.chat_template import opens_thought

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.chat_template:
        raise ValueError(
            f"{folder} has no chat template and no run says which template its policy was trained with: give --template"
        )
    return opens_thought(tokenizer)
