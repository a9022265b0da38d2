"""A remote worker that trains nothing: it reports steps and saves small files in place of states.

`python -m support.remote_worker DATA_DIR STEPS STEP_SECONDS TIMING`. Each step has a metrics event,
every third step is saved, and every sixth one is the end of an epoch. The loss tells the attempt.
While there is a file `hold` beside DATA_DIR, no step after the number in it is trained.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from ftkit.server.adapters import WEIGHTS
from ftkit.server.attempts import last_checkpoint
from ftkit.server.folder import Folder
from ftkit.server.remote_reports import HttpReports, Timing, connect_reports, run_remote
from ftkit.server.reports import Heartbeat, JobEvent

SAVE_EVERY, EPOCH = 3, 6


class Training:
    """The training of a job, with `steps` steps of `seconds` each."""

    def __init__(
        self, folder: Folder, reports: HttpReports, heartbeat: Heartbeat, steps: int, seconds: float
    ) -> None:
        self.folder, self.reports, self.heartbeat = folder, reports, heartbeat
        self.steps, self.seconds = steps, seconds

    def run(self, _: HttpReports) -> None:
        start = self.reports.begin()
        self.job = start.job
        self.losses = self.resume()
        for step, loss in self.losses.items():
            if step > start.reported_step:
                self.report(step, loss)
        first = len(self.losses)
        if first and first % EPOCH == 0 and first not in start.published_steps:
            self.reports.publish(first, {"train_loss": self.losses[first]})
        for step in range(first + 1, self.steps + 1):
            self.wait_to_train(step)
            print("trained", step, flush=True)
            self.losses[step] = step + self.job.attempt / 1000
            self.report(step, self.losses[step])
            is_pausing = self.heartbeat.pause.is_set() and step < self.steps
            if is_pausing or step % SAVE_EVERY == 0 or step == self.steps:
                self.save(step)
            if is_pausing:
                return
        self.reports.succeed(self.steps, 100)

    def wait_to_train(self, step: int) -> None:
        """Wait as long as a step takes, and while a test holds it, unless the job is to be paused."""
        time.sleep(self.seconds)
        while self.last_step() < step and not self.heartbeat.pause.is_set():
            time.sleep(0.01)

    def last_step(self) -> float:
        """Return the last step that may be trained now."""
        with suppress(FileNotFoundError):
            return int((self.folder.root.parent / "hold").read_text())
        return math.inf

    def resume(self) -> dict[int, float]:
        last = last_checkpoint(self.folder.checkpoints(self.job.id))
        if last is None:
            return {}
        state = json.loads((last / "trainer_state.json").read_text())
        return {int(step): loss for step, loss in state.items()}

    def report(self, step: int, loss: float) -> None:
        data = {"step": step, "total_steps": self.steps, "train_loss": loss}
        self.reports.add_event(JobEvent(key=f"train {step}", message=f"Step {step}", data=data))

    def save(self, step: int) -> None:
        saved = self.folder.attempt_checkpoints(self.job.id, self.job.attempt)
        checkpoint = saved / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        (checkpoint / WEIGHTS).write_bytes(b"weights")
        (checkpoint / "adapter_config.json").write_text("{}")
        (checkpoint / "trainer_state.json").write_text(json.dumps(self.losses))
        self.reports.commit(step)
        if step % EPOCH == 0:
            self.reports.publish(step, {"train_loss": self.losses[step]})


def main() -> None:
    root, steps, seconds, durations = sys.argv[1:]
    timing = Timing(**json.loads(durations))
    reports = connect_reports(os.environ, timing)
    heartbeat = Heartbeat(reports, timing.beat)
    heartbeat.start()
    training = Training(Folder(Path(root)), reports, heartbeat, int(steps), float(seconds))
    run_remote(training.run, reports, os._exit)


if __name__ == "__main__":
    main()
