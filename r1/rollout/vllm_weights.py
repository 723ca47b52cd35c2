"""How a vLLM server gets the trainer's weights, and how we know which they are.

    SharedFolder   trainer ──safetensors──▶ folder ──reload_weights──▶ server        anywhere that both see one folder
    Broadcast      trainer's GPU ──NCCL, a weight at a time──▶ server's GPUs          no disk; vLLM's weight transfer engine

Both work in three moves, because weights may be asked for again after the policy has moved on (a restarted server, rollouts ahead):
`take` keeps what the policy is now, `publish` names it, `give` brings it to a server that is paused.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import threading
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from r1.policy.sharding import rank
from r1.rollout.vllm_server import VLLMServer

if TYPE_CHECKING:
    from r1.policy.policy import Policy

STARTED_WITH = "default"  # what a server calls the weights that it was started with


class Weights(Protocol):
    def take(self, policy: Policy, dtype: torch.dtype) -> None:
        """Keep the policy's weights as they are now. Every rank calls it; the first one keeps them."""

    def publish(self, version: int) -> str:
        """The label of what was taken: v<optimiser updates>-<digest of the weights>."""

    def give(self, server: VLLMServer, label: str) -> None:
        """Bring the weights that were published under this label into the server."""


class SharedFolder:
    """A folder that trainer and server see under the same name.

    keep   versions of the weights that stay in it; the last one is what a restarted server is given again
    """

    def __init__(self, folder: str | Path, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"SharedFolder.keep must be at least 1, the version that is served, got {keep}")
        self.folder, self.keep = Path(folder).absolute(), keep

    def take(self, policy: Policy, dtype: torch.dtype) -> None:
        if rank() == 0:
            shutil.rmtree(self.folder / "new", ignore_errors=True)  # of a run that was stopped while it wrote
        policy.save(self.folder / "new", dtype)

    def publish(self, version: int) -> str:
        new = self.folder / "new"
        files = sorted(new.glob("*.safetensors"))
        assert files, f"no safetensors in {new}"
        label = f"v{version}-{_digest(chunk for file in files for chunk in _chunks(file))}"
        shutil.rmtree(self.folder / label, ignore_errors=True)
        new.rename(self.folder / label)
        old = sorted(self.folder.glob("v*-*"), key=lambda path: path.stat().st_mtime)
        for path in [path for path in old if path.name != label][: max(0, len(old) - self.keep)]:
            shutil.rmtree(path, ignore_errors=True)
        return label

    def give(self, server: VLLMServer, label: str) -> None:
        server.reload_weights(str(self.folder / label))


class Broadcast:
    """vLLM's weight transfer engine over NCCL, from a trainer that needs no vLLM: trainer and workers meet by an NCCL id that is
    sent to the server, and each weight is one broadcast (vLLM 0.33, distributed/weight_transfer/nccl_common.py).

    The server is started with --weight-transfer-config '{"backend": "nccl"}', on other GPUs than the trainer, and with the same
    release of NCCL (its VLLM_NCCL_SO_PATH may name the trainer's). Written to vLLM's source; not run, for want of GPUs.

    timeout   seconds that a broadcast may take once the server has received everything
    connect   (ranks in all, device) -> the first rank of a group; NCCL's unless a test brings its own
    """

    def __init__(self, timeout: float = 60.0, connect: Callable[[int, torch.device], Any] | None = None) -> None:
        self.timeout, self.connect = timeout, connect or NCCLGroup
        self._state: dict[str, Tensor] = {}
        self._device = torch.device("cpu")
        self._group: Any = None
        self._label = ""

    def take(self, policy: Policy, dtype: torch.dtype) -> None:
        whole = policy.weights(dtype)
        kept: dict[int, tuple[str, Tensor]] = {}  # a tied weight goes once, under its first name
        for name, tensor in whole.items():
            kept.setdefault(tensor.data_ptr(), (name, tensor))
        # a copy in main memory: what a restarted server is given is what was sampled with, not what the policy has become
        self._state = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in kept.values()}
        self._device = policy.device

    def publish(self, version: int) -> str:
        self._label = f"v{version}-{_digest(memoryview(t.view(-1).view(torch.uint8).numpy()) for t in self._state.values())}"
        return self._label

    def give(self, server: VLLMServer, label: str) -> None:
        assert label == self._label, f"asked for {label}, but only {self._label} is kept"
        if self._group is None or server.weight_version() == STARTED_WITH:  # a restarted server has left the group
            self._group = self._meet(server)
        group, self._group = self._group, None  # a group that failed in the middle is not used again
        update = {
            "names": list(self._state),
            "dtype_names": [str(tensor.dtype).removeprefix("torch.") for tensor in self._state.values()],
            "shapes": [list(tensor.shape) for tensor in self._state.values()],
        }

        def send() -> None:
            for tensor in self._state.values():
                group.broadcast(tensor.to(self._device))
            group.wait()

        server.start_weight_update()
        _together(send, lambda: server.update_weights(update), self.timeout)
        server.finish_weight_update()
        self._group = group

    def _meet(self, server: VLLMServer) -> Any:
        """A group of the trainer, rank 0, and the server's workers. The first thing they do is add up a number: vLLM's warm-up."""
        world = 1 + server.world_size()
        group = self.connect(world, self._device)

        def invite() -> None:
            name = base64.b64encode(group.id()).decode()
            server.init_weight_transfer({"nccl_unique_id_b64": name, "rank_offset": 1, "world_size": world, "packed": False})

        _together(group.join, invite, self.timeout)
        return group


class NCCLGroup:
    """Rank 0 of an NCCL communicator whose other ranks come by its id and not by torch's store."""

    def __init__(self, world: int, device: torch.device) -> None:
        from torch import distributed as dist

        if not dist.is_nccl_available() or device.type != "cuda":
            raise ValueError(
                f"rollout/weights=nccl broadcasts from a GPU of the trainer, but the policy is on {device} and this torch has "
                f"{'' if dist.is_nccl_available() else 'no '}NCCL; rollout/weights=folder works everywhere"
            )
        self.device = device
        self._store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=60))
        self._group = dist.ProcessGroupNCCL(self._store, 0, world)

    def id(self) -> bytes:
        """128 bytes that name the communicator. `join` makes them, and torch keeps them under the communicator's number, 0."""
        return bytes(self._store.get("0"))

    def join(self) -> None:
        """Returns when every rank is there."""
        with torch.cuda.device(self.device):
            self._group.allreduce([torch.zeros(1, device=self.device)]).wait()
            self.wait()

    def broadcast(self, tensor: Tensor) -> None:
        with torch.cuda.device(self.device):
            self._group.broadcast([tensor]).wait()

    def wait(self) -> None:
        """Until everything that was sent has arrived."""
        torch.cuda.synchronize(self.device)


def _together(collective: Callable[[], None], request: Callable[[], Any], timeout: float) -> None:
    """A collective call, which returns only when the server takes part, beside the request that makes it take part.

    Where the request fails the collective would wait for ever: the error is raised, and the thread is left behind.
    """
    failed: list[BaseException] = []

    def run() -> None:
        try:
            collective()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    request()
    thread.join(timeout)
    if failed:
        raise failed[0]
    if thread.is_alive():
        raise TimeoutError(f"the server says that it has everything, but the transfer is not over after {timeout:g} seconds")


def _digest(parts: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


def _chunks(file: Path) -> Iterable[bytes]:
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 24):
            yield chunk
