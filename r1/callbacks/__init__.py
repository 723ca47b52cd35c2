"""Lightning callbacks that work with any LightningModule that has a `.policy`; each can be used alone."""

from r1.callbacks.benchmark import BenchmarkCallback
from r1.callbacks.checkpoint import CheckpointCallback, Interrupted
from r1.callbacks.progress import ProgressCallback
from r1.callbacks.reflection import ReflectionCallback
from r1.callbacks.rehearsal import RehearsalCallback
from r1.callbacks.signal import SignalCallback
from r1.callbacks.traces import TraceCallback

__all__ = [
    "BenchmarkCallback",
    "CheckpointCallback",
    "Interrupted",
    "ProgressCallback",
    "ReflectionCallback",
    "RehearsalCallback",
    "SignalCallback",
    "TraceCallback",
]
