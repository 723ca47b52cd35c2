"""What `r1 export` writes loads elsewhere and computes the same, and says where it comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from r1.analysis.reading import read_stage
from r1.commands import export as command
from r1.policy import Policy
from r1.records import Problem, Trace
from r1.rollout.trace_file import TraceWriter
from r1.serving.export import Generation, export
from r1.serving.licence import base_model, find_licence


def run_folder(path: Path, made: Policy, **config: object) -> Path:
    """A run as `r1 train` leaves it: config, manifest, curves, evaluations, hf/."""
    path.mkdir(parents=True)
    defaults = {
        "name": "tiny_r1_zero",
        "seed": 5,
        "template": {"_target_": "r1.policy.prompts.named", "name": "tiny"},
        "policy": {"_target_": "r1.policy.tiny.tiny_policy", "words": {"_target_": "r1.tasks.words.vocabulary"},
                   "hidden": 32, "heads": 2, "inner": 48},
        "stage": {"_target_": "r1.stages.GRPO", "group_size": 8, "sampling": {"max_new_tokens": 192}},
        "task": {"_target_": "r1.tasks.pair_countdown.PairCountdown"},
        "reward": {"weights": {"accuracy": 1.0, "format": 0.1, "language": 0.0}},
    }  # fmt: skip
    (path / "config.yaml").write_text(yaml.safe_dump(defaults | config))
    (path / "manifest.json").write_text(json.dumps({"git": {"commit": "c0ffee", "dirty": True}, "packages": {"torch": "2.13.0"}}))
    (path / "metrics.csv").write_text(
        "step,eval/pairs/pass@1,eval/pairs/pass@1_low,eval/pairs/pass@1_high,eval/pairs/mean_length\n0,0.1,0.05,0.15,20\n80,0.875,0.8,0.9,61.5\n"
    )
    row = {"step": 80, "benchmark": "pairs", "setting": {"problems": 188, "samples a problem": 8, "temperature": 1.0}}
    (path / "evaluations.jsonl").write_text(json.dumps(row) + "\n")
    trace = Trace(Problem("pairs/0", "use two of 9 6 2 to make 54", "9 * 6"), [1], [2], [0.0], "9 * 6", "stop")
    TraceWriter(path / "traces/rollouts.jsonl").write([trace], step=1, stage="grpo", phase="rollout")
    made.save(path / "hf")
    return path


def test_round_trip(policy: Policy, exported: Path) -> None:
    files = {path.name for path in exported.iterdir()}
    assert files == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
        "README.md", "LICENSE",
    }  # fmt: skip
    model, tokenizer = AutoModelForCausalLM.from_pretrained(exported), AutoTokenizer.from_pretrained(exported)
    problem = Problem("p", "use two of 9 6 2 to make 54", "9 * 6")
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": problem.question}], add_generation_prompt=True, return_dict=False
    )
    assert ids == policy.encode(problem)
    with torch.no_grad():
        assert torch.equal(model(torch.tensor([ids])).logits, policy.model(torch.tensor([ids])).logits)
    settings = GenerationConfig.from_pretrained(exported)
    assert (settings.do_sample, settings.temperature, settings.top_p, settings.top_k) == (True, 0.6, 0.95, 0)
    assert (settings.eos_token_id, settings.pad_token_id, settings.max_new_tokens) == (1, 0, 24)
    assert f"of {policy.model.num_parameters():,} parameters" in (exported / "README.md").read_text()
    assert policy.tokenizer.chat_template is None  # the policy itself is as it was


def test_card_of_a_run(policy: Policy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_folder(tmp_path / "run", policy)
    (tmp_path / "aime").mkdir()
    later = {
        "aime24": {
            "benchmark": "aime24",
            "setting": {"samples a problem": 64},
            "pass@1": 0.5,
            "pass@1_low": 0.25,
            "pass@1_high": 0.75,
        }
    }
    (tmp_path / "aime/evaluations.json").write_text(json.dumps(later))
    assert command.main([str(run), "--out", str(tmp_path / "out"), "--eval", str(tmp_path / "aime")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out")
    card = ModelCard.load(tmp_path / "out/README.md")
    assert (card.data.license, card.data.library_name, card.data.base_model) == ("apache-2.0", "transformers", None)
    results = [(r.dataset_name, r.metric_type, r.metric_value, r.metric_args["interval"]) for r in card.data.eval_results]
    assert results == [("pairs", "pass@1", 0.875, [0.8, 0.9]), ("aime24", "pass@1", 0.5, [0.25, 0.75])]
    for said in (
        "| pass@1 | 87.5 % [80.0, 90.0] |",
        "| mean length, tokens | 61.5 |",
        "problems 188, samples a problem 8, temperature 1.0",
        "reward: 1 × accuracy, 0.1 × format\n",
        "git commit c0ffee with local changes",
        "trained from scratch; its last stage is `GRPO` of the run `tiny_r1_zero`",
        "max_new_tokens 192. Temperature and top-p are those of the paper",
        '"content": "use two of 9 6 2 to make 54"',  # a question of its own kind, from its traces
        "group_size: 8",
    ):
        assert said in card.text, said
    assert (tmp_path / "out/LICENSE").read_text().lstrip().startswith("Apache License")


def test_a_checkpoint_has_its_own_weights_and_not_the_runs_figures(policy: Policy, tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", policy)
    state = {f"policy.{name}": value + 1 for name, value in policy.state_dict().items()} | {"reference.x": torch.zeros(1)}
    (run / "checkpoints").mkdir()
    torch.save({"state_dict": state, "global_step": 80, "r1": {"rollout_step": 40}}, run / "checkpoints/last.ckpt")
    assert command.main([str(run / "checkpoints/last.ckpt"), "--out", str(tmp_path / "out")]) == 0
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.equal(model.get_input_embeddings().weight, policy.model.get_input_embeddings().weight + 1)
    card = ModelCard.load(tmp_path / "out/README.md")
    assert "checkpoint `last (step 40)`" in card.text
    assert "were not evaluated" in card.text and "87.5" not in card.text and not card.data.eval_results


def test_an_exported_folder_can_be_exported_again(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "licence").write_text("mine")
    said = ["--license", "mit", "--license-file", str(tmp_path / "licence"), "--temperature", "0"]
    assert command.main([str(exported), "--out", str(tmp_path / "again"), *said]) == 0
    first, second = (AutoTokenizer.from_pretrained(folder) for folder in (exported, tmp_path / "again"))
    assert first.chat_template == second.chat_template
    assert (tmp_path / "again/LICENSE").read_text() == "mine"
    assert ModelCard.load(tmp_path / "again/README.md").data.license == "mit"
    assert GenerationConfig.from_pretrained(tmp_path / "again").do_sample is not True


def test_the_licence_is_the_one_training_began_with(tmp_path: Path, policy: Policy, exported: Path) -> None:
    scratch = {"policy": {"words": []}}
    assert (base_model(scratch), find_licence(scratch).id) == (None, "apache-2.0")
    hub = {"policy": {"path": "Qwen/Qwen2.5-1.5B"}}
    assert base_model(hub) == "Qwen/Qwen2.5-1.5B"
    assert find_licence(hub).id == "other" and find_licence(hub).link == "https://huggingface.co/Qwen/Qwen2.5-1.5B"
    first = run_folder(tmp_path / "sft", policy, **hub)
    second = {"policy": {"path": str(first / "hf")}}  # a run that began with that run's policy
    assert base_model(second) == "Qwen/Qwen2.5-1.5B"
    assert find_licence({"policy": {"path": str(exported)}}).id == "apache-2.0"  # read from the folder's own card
    with pytest.raises(ValueError, match="text of the licence 'mit' is not at hand"):
        find_licence(scratch, "mit")
    with pytest.raises(ValueError, match="no licence file at nowhere"):
        find_licence(scratch, "mit", "nowhere")


def test_mistakes_are_named(policy: Policy, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("a", "b"):
        policy.save(tmp_path / f"many/{part}/hf")
    (tmp_path / "empty").mkdir()
    (tmp_path / "stray.ckpt").touch()
    torn = run_folder(tmp_path / "torn", policy) / "last.ckpt"
    torn.write_bytes(b"PK")
    cases = [
        ([str(tmp_path / "none")], "no folder"),
        ([str(tmp_path / "empty")], "no model in"),
        ([str(tmp_path / "many")], "there are 2 models in"),
        ([str(tmp_path / "many/a")], "has no chat template and no run says which template"),
        ([str(tmp_path / "many/a"), "--template", "huh"], "no template 'huh'"),
        ([str(tmp_path / "stray.ckpt")], "no run around"),
        ([str(torn)], "is not a whole checkpoint of the run"),
        ([str(exported), "--temperature", "-1"], "expected temperature >= 0"),
        ([str(exported), "--max-new-tokens", "0"], "max_new_tokens >= 1"),
        ([str(exported), "--eval", str(tmp_path)], "no evaluations.json in"),
    ]
    for arguments, message in cases:
        assert command.main([*arguments, "--out", str(tmp_path / "out")]) == 1
        assert message in capsys.readouterr().err, message
        assert not [path for path in tmp_path.iterdir() if "out" in path.name]  # nothing half-written stays
    assert command.main([str(exported), "--out", str(exported)]) == 1
    assert "exists and is not an empty folder" in capsys.readouterr().err


def test_a_preference_model_is_refused(policy: Policy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_folder(tmp_path / "run", policy)
    state = {f"policy.{name}": value for name, value in policy.state_dict().items() if "lm_head" not in name}
    torch.save({"state_dict": state | {"policy.model.score.weight": torch.zeros(1, 32)}}, run / "last.ckpt")
    config = json.loads((run / "hf/config.json").read_text())
    (run / "hf/config.json").write_text(json.dumps(config | {"architectures": ["Qwen3ForSequenceClassification"]}))
    for source in (run, run / "hf", run / "last.ckpt"):
        assert command.main([str(source), "--out", str(tmp_path / "out")]) == 1
        assert "is a preference model: it scores texts and writes none" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_a_run_without_a_command_is_read_from_what_the_logger_kept(policy: Policy, tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", policy)
    (run / "config.yaml").rename(run / "hparams.yaml")
    assert read_stage(run).config["seed"] == 5
    found, known, checkpoint, folder = command.load(run)
    assert (found.template.name, known.name, checkpoint, folder) == ("tiny", "tiny_r1_zero", None, run / "hf")
    assert export(found, tmp_path / "out", run=known, generation=Generation(top_p=1.0)).is_dir()
