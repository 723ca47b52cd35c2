"""Sampling in process with transformers' continuous batching: rows enter and leave at every step, over a paged cache.

For one GPU without a server, where completions differ much in length. On a CPU and for tiny models `rollout=hf` is many times faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig

from r1 import repro
from r1.policy.sharding import is_sharded
from r1.rollout.engine import Completion, Sampling, check_request
from r1.rollout.hf import HFEngine, check_room, evaluating

if TYPE_CHECKING:
    from r1.policy.policy import Policy


class ContinuousEngine(HFEngine):
    """Samples from the policy's own weights; nothing is copied.

    All completions of a `generate` share one random stream, which is seeded by the seeds of all of them: the same call gives the
    same draws, but a single completion cannot be drawn again alone, as it can with `HFEngine`.

    num_blocks, page_size, max_batch_tokens   size of the paged cache and of a step; None lets transformers choose from the
                                              free memory of the GPU (give them on a CPU)
    """

    def __init__(
        self,
        policy: Policy | None = None,
        num_blocks: int | None = None,
        page_size: int = 256,
        max_batch_tokens: int | None = None,
    ) -> None:
        super().__init__(policy)
        self.num_blocks, self.page_size, self.max_batch_tokens = num_blocks, page_size, max_batch_tokens

    def generate(
        self, prompts: Sequence[Sequence[int]], n: int, sampling: Sampling, seeds: Sequence[Sequence[int]]
    ) -> list[list[Completion]]:
        """n completions of each prompt, in the prompts' order. Raises RuntimeError where transformers gives up on a request."""
        check_request(prompts, n, seeds)
        if self.policy is None or (is_sharded(self.policy) and self._gathered is None):
            raise ValueError("ContinuousEngine has no weights yet: call sync(policy, version) first")
        if not prompts:
            return []
        model = self._gathered or self.policy.model
        check_room(model, max(map(len, prompts)), sampling)
        requests = [list(map(int, prompt)) for prompt in prompts for _ in range(n)]
        with evaluating(model), torch.random.fork_rng():  # it seeds torch's own generators
            found = model.generate_batch(
                requests,
                generation_config=self._generation(sampling),
                continuous_batching_config=self._batching(seeds),
                warmup=False,
            )
        rows = [self._read(result) for result in found.values()]
        if len(rows) != len(requests):
            raise RuntimeError(f"continuous batching finished {len(rows)} of {len(requests)} completions; its log says why")
        return [rows[i * n : (i + 1) * n] for i in range(len(prompts))]

    def _generation(self, sampling: Sampling) -> GenerationConfig:
        assert self.policy is not None
        drawn: dict[str, Any] = {"do_sample": False}
        if not sampling.greedy:
            drawn = {"do_sample": True, "temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p}
        return GenerationConfig(
            max_new_tokens=sampling.max_new_tokens,
            eos_token_id=sorted(self.policy.eos_ids),
            pad_token_id=self.policy.pad_id,
            **drawn,
        )

    def _batching(self, seeds: Sequence[Sequence[int]]) -> ContinuousBatchingConfig:
        given = {"num_blocks": self.num_blocks, "max_batch_tokens": self.max_batch_tokens}
        if not torch.cuda.is_available():
            given["use_cuda_graph"] = False
        seed = repro.key("continuous batching", *(seed for row in seeds for seed in row)) % 2**32
        return ContinuousBatchingConfig(page_size=self.page_size, return_logprobs=True, seed=seed, **given)

    def _read(self, result: Any) -> Completion:
        if result.error is not None or len(result.logprobs) != len(result.generated_tokens):
            raise RuntimeError(f"continuous batching failed on a prompt of {len(result.prompt_ids)} tokens: {result.error}")
        ids = [int(i) for i in result.generated_tokens]
        assert self.policy is not None
        return Completion(ids, [float(p) for p in result.logprobs], "stop" if ids[-1] in self.policy.eos_ids else "length")
