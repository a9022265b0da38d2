"""Schedule of a training job: when its state is saved, and when it stops for a pause."""

from __future__ import annotations

import threading
from typing import Any

from transformers import TrainerCallback

from ftkit.server.training.ranks import broadcast

SAVES = 10
"""Minimum number of times that the state of the trainer is saved, unless a job has fewer steps."""


class SaveSchedule(TrainerCallback):  # type: ignore[misc]
    """Trainer callback that saves the state when it is due, and stops training for a pause.

    Each process of a job has one, and all decide the same.

    Args:
        pause: Set when the job is to be paused; only that of rank 0 counts.

    Attributes:
        paused: True if training was stopped for a pause.
        saved: True once the state was saved, from which another process can resume.
    """

    def __init__(self, pause: threading.Event) -> None:
        self._pause = pause
        self.paused = self.saved = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save the state when it is due, and stop training if a pause was requested.

        The last step is not paused.
        """
        is_pausing = broadcast(self._pause.is_set())
        if is_pausing and state.global_step < state.max_steps:
            control.should_training_stop = self.paused = True
        is_due = state.global_step % max(1, state.max_steps // SAVES) == 0
        # The end of an epoch is saved anyway, after its validation.
        control.should_save = (is_due or self.paused) and not is_end_of_epoch(state)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Neither validate nor save again if the epoch ends early, for a pause.

        A validation would change the state of the random number generator that is saved.
        """
        if not is_end_of_epoch(state):
            control.should_evaluate = control.should_save = False

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note that the state was saved, once each process has saved its part."""
        broadcast(True)
        self.saved = True


def is_end_of_epoch(state: Any) -> bool:
    """Return True if the last step was the last one of an epoch."""
    return bool(abs(state.epoch - round(state.epoch)) < 1e-6)
