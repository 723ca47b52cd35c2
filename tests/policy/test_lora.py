"""Low-rank adapters: the same function at the start, a reference that keeps the adapter, and merged weights that are the model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from r1.policy import Policy, Reference
from r1.policy.lora import Lora, load_adapter, merged_state
from r1.policy.scorer import Scorer
from r1.policy.tiny import tiny_policy
from r1.records import Problem
from r1.rollout.collate import collate
from r1.rollout.engine import Sampling
from r1.rollout.hf import HFEngine
from r1.rollout.sampler import sample

pytest.importorskip("peft", reason="LoRA needs peft: pip install -e '.[peft]'")

WORDS = ["one", "two", "three", "User", ":", "Assistant"]


def plain(seed: int = 0) -> Policy:
    return tiny_policy(WORDS, seed=seed, hidden=16, layers=2, heads=2, inner=24, max_length=64)


def adapted(**options) -> Policy:
    policy = plain()
    Lora(**{"r": 2, "alpha": 8.0, **options}).attach(policy.model)
    return policy


def disturb(policy: Policy) -> Policy:
    """As if it had been trained: every adapter weight moved."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=draw))
    return policy


def groups(policy: Policy, engine: HFEngine | None = None):
    return sample(
        engine or HFEngine(policy),
        policy,
        [Problem("p", "one"), Problem("q", "two three")],
        4,
        Sampling(max_new_tokens=8),
        (0, "t"),
    )


def logps(policy: Policy, source: Policy) -> torch.Tensor:
    """[B, T] of completions that `source` sampled."""
    return policy.logps(collate([t for g in groups(source) for t in g.traces], source.pad_id))[0]


def test_a_fresh_adapter_changes_nothing_and_alone_learns():
    policy = adapted()
    assert torch.equal(logps(policy, plain()), logps(plain(), plain()))
    names = [name for name, p in policy.named_parameters() if p.requires_grad]
    assert len(names) == 2 * 2 * 7  # A and B of seven linear layers in each of two blocks; embeddings and head stay
    assert all(".lora_" in name for name in names)


def test_the_draw_is_keyed():
    def a_weights(seed: int) -> torch.Tensor:
        before = torch.get_rng_state()
        policy = adapted(seed=seed)
        assert torch.equal(before, torch.get_rng_state())
        return torch.cat([p.flatten() for n, p in policy.named_parameters() if ".lora_A" in n])

    assert torch.equal(a_weights(0), a_weights(0))
    assert not torch.equal(a_weights(0), a_weights(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_adapter_learns_in_float32(dtype):
    policy = plain().to(dtype)
    Lora(r=2).attach(policy.model)
    assert {p.dtype for p in policy.parameters() if p.requires_grad} == {torch.float32}
    assert policy.model.dtype == dtype
    assert torch.isfinite(logps(policy, policy)).all()


def test_merged_weights_are_the_adapted_model():
    policy = disturb(adapted())
    again = plain()
    again.model.load_state_dict(merged_state(policy.model))
    assert torch.allclose(logps(policy, policy), logps(again, policy), atol=1e-5)
    assert not torch.allclose(logps(plain(), policy), logps(policy, policy), atol=0.1)


def test_an_export_is_a_plain_model_with_the_adapter_beside_it(tmp_path: Path):
    policy = disturb(adapted())
    folder = policy.save(tmp_path / "hf")
    alone = AutoModelForCausalLM.from_pretrained(folder)
    assert not any("lora" in name for name, _ in alone.named_parameters())
    assert alone.get_output_embeddings().weight is alone.get_input_embeddings().weight  # tied as before
    assert torch.allclose(logps(policy, policy), logps(Policy.load(folder, "tiny"), policy), atol=1e-5)
    assert any(".lora_" in name for name, _ in policy.named_parameters())  # the run may go on


def test_a_saved_adapter_learns_on_where_it_was(tmp_path: Path):
    base = plain().save(tmp_path / "base")
    policy = disturb(Policy.load(base, "tiny", lora=Lora(r=2, alpha=8.0)))
    folder = policy.save(tmp_path / "hf") / "adapter"
    again = Policy.load(folder, "tiny")
    for (name, old), (other, new) in zip(policy.named_parameters(), again.named_parameters(), strict=True):
        assert name == other
        assert torch.equal(old, new)
        assert old.requires_grad == new.requires_grad
    from peft import PeftModel

    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    tokens = torch.tensor([[3, 4, 5]])
    assert torch.allclose(theirs(tokens).logits, policy.model(tokens).logits, atol=1e-5)


def test_the_reference_is_the_adapter_of_the_start_and_shares_the_model():
    """Bug 27: with the adapter switched off, the reference of a run that starts from an adapter would be the bare model."""
    policy = disturb(adapted())
    reference = Reference(policy, refresh_every=2)
    batch = collate([t for g in groups(policy) for t in g.traces], policy.pad_id)
    start = policy.logps(batch)[0]
    assert torch.equal(reference.logps(batch), start)
    shared = {id(p) for p in policy.parameters()} & {id(p) for p in reference.parameters()}
    assert shared == {id(p) for p in policy.parameters() if not p.requires_grad}
    disturb(policy)
    assert torch.equal(reference.logps(batch), start)
    assert [reference.after_update(policy), reference.after_update(policy)] == [False, True]
    assert torch.equal(reference.logps(batch), policy.logps(batch)[0])


def test_the_sampler_sees_the_adapter():
    """Bug 24, for adapters: log-probabilities of the sampler are those of the adapted model."""
    policy = disturb(adapted())
    traces = [t for g in groups(policy) for t in g.traces]
    batch = collate(traces, policy.pad_id)
    assert torch.allclose(batch.sampler_logp, policy.logps(batch)[0].where(batch.mask, 0.0), atol=1e-4)


def test_a_scorer_starts_from_the_adapted_model():
    policy = disturb(adapted())
    scorer = Scorer.from_policy(policy).eval()
    tokens = torch.tensor([[3, 4, 5]])
    states = [m.base_model(input_ids=tokens).last_hidden_state for m in (scorer.model, policy.model)]
    assert torch.allclose(states[0], states[1], atol=1e-5)
    learned = {name for name, p in scorer.named_parameters() if p.requires_grad}
    assert "model.score.weight" in learned
    assert all(".lora_" in name for name in learned - {"model.score.weight"})


def foreign(folder: Path, **options) -> Path:
    """An adapter that peft alone has made, and trained a little."""
    from peft import LoraConfig, get_peft_model

    base = AutoModelForCausalLM.from_pretrained(plain().save(folder / "base"))
    config = LoraConfig(**{"r": 2, "target_modules": ["q_proj", "up_proj"], **options})
    model = get_peft_model(base, config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.3)
    model.save_pretrained(folder / "adapter")
    return folder / "adapter"


@pytest.mark.parametrize(
    "options",
    [
        dict(),
        dict(use_rslora=True),
        dict(bias="all"),
        dict(rank_pattern={"q_proj": 4}, alpha_pattern={"up_proj": 3}, lora_dropout=0.1),
        dict(layers_to_transform=[1], init_lora_weights="gaussian", task_type="CAUSAL_LM"),
        dict(target_modules=["embed_tokens", "q_proj"]),
    ],
    ids=["plain", "rslora", "bias", "patterns", "layers", "embeddings"],
)
def test_foreign_adapters_are_exported_as_peft_computes_them(tmp_path: Path, options: dict):
    from peft import PeftModel

    folder, tokens = foreign(tmp_path, **options), torch.tensor([[3, 4, 5]])
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), folder)(tokens).logits
    policy = Policy.load(folder, "tiny").eval()
    assert torch.allclose(policy.model(tokens).logits, theirs, atol=1e-5)
    assert torch.allclose(AutoModelForCausalLM.from_pretrained(policy.save(tmp_path / "hf"))(tokens).logits, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(use_dora=True), "sets use_dora=True; supported is plain LoRA"),
        (dict(lora_bias=True), "lora_bias=True"),
        (dict(modules_to_save=["input_layernorm"]), r"modules_to_save=\['input_layernorm'\]"),
        (dict(trainable_token_indices=[3, 4]), r"trainable_token_indices=\[3, 4\]"),
    ],
)
def test_adapters_that_cannot_be_merged_are_refused(tmp_path: Path, options: dict, said: str):
    with pytest.raises(ValueError, match=said):
        Policy.load(foreign(tmp_path, **options), "tiny")


def test_adapters_of_other_kinds_are_refused(tmp_path: Path):
    from peft import IA3Config

    plain().save(tmp_path / "base")
    config = IA3Config(base_model_name_or_path=str(tmp_path / "base"), target_modules=["q_proj"], feedforward_modules=[])
    config.save_pretrained(str(tmp_path / "adapter"))
    with pytest.raises(ValueError, match="sets peft_type=IA3"):
        Policy.load(tmp_path / "adapter", "tiny")


def test_an_adapter_on_the_head_is_refused(tmp_path: Path):
    """The losses read the head's weight: they would see other logits than the sampler."""
    with pytest.raises(ValueError, match="adapter on the head"):
        Policy.load(foreign(tmp_path, target_modules=["lm_head", "q_proj"]), "tiny")
    with pytest.raises(ValueError, match="adapter on the head"):
        adapted(targets=["lm_head"])


@pytest.mark.parametrize("options", [dict(r=0), dict(alpha=0.0), dict(dropout=1.0)])
def test_bad_settings_are_refused(options):
    with pytest.raises(ValueError, match="expected r >= 1"):
        Lora(**options)


def test_two_adapters_and_strange_ones_are_refused(tmp_path: Path):
    policy = adapted()
    with pytest.raises(ValueError, match="has an adapter already"):
        Lora().attach(policy.model)
    folder = policy.save(tmp_path / "hf") / "adapter"
    with pytest.raises(ValueError, match="leave policy.lora null"):
        Policy.load(folder, lora=Lora())
    with pytest.raises(ValueError, match="does not fit the model"):
        load_adapter(tiny_policy(WORDS, hidden=16, layers=1, heads=2, inner=24).model, folder)
