"""Driver process of a Ray cluster: it submits the tasks that ftkit sends it.

    ftkit ── Connect, Submit, Release ──→ driver ── tasks ──→ nodes
          ←─ Ready, Heartbeat, Result, Failure ──

Outputs of tasks stay on the nodes; the driver has references to them, so that Ray keeps them, and
runs their tasks again when they are lost.

Ray ends the process that is connected to a cluster when its head dies, so no other process imports
it. The driver ends, and its tasks with it, when its standard input does.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any

from ftkit._version import __version__
from ftkit.validation.ray_messages import (
    Channel,
    Connect,
    Failure,
    Heartbeat,
    Ready,
    Release,
    Result,
    Submit,
)

MAX_RETRIES = 5
"""Maximum number of retries of a task whose node or worker process died."""

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_task_oom_retries": str(MAX_RETRIES),
    "RAY_max_lineage_bytes": str(1 << 40),
}
"""Settings of Ray for this process, unless its environment has them.

Ray forgets the oldest tasks when they take 1 GiB, and cannot repeat them when their outputs are
lost. The tasks of ftkit are few enough to keep all.
"""

HEARTBEAT_SECONDS = 2.0
"""Seconds between two heartbeats."""

CHECK_SECONDS = 30.0
"""Seconds to wait for the versions of the nodes."""

END_SECONDS = 5.0
"""Seconds after the end of standard input until the process ends, whatever the tasks do."""

VERSIONS = (f"ftkit {__version__}", "Python {}.{}".format(*sys.version_info))
"""Versions that all nodes must have: tasks are sent as values of ftkit and byte code of Python."""


def main() -> None:
    """Run the driver until its standard input ends or it has sent an error."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    channel = _take_streams()
    first = channel.receive()
    if not isinstance(first, Connect):
        return
    try:
        Driver(channel).run(first.address)
    except BrokenPipeError:  # ftkit is gone
        pass
    except Exception as error:  # of any type: `ray.init` also raises those of Python
        channel.send(Failure(_one_line(error)))
    finally:
        os._exit(0)  # leaving the cluster ends its tasks, and may take long if the head is gone


def _take_streams() -> Channel:
    """Return a channel over the standard streams, and redirect those to the null device.

    Ray writes to its standard streams, which would corrupt the messages.
    """
    channel = Channel(os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb"))
    with open(os.devnull, "r+b", buffering=0) as null:
        for number in range(3):
            os.dup2(null.fileno(), number)
    return channel


def _one_line(error: BaseException) -> bytes:
    return os.fsencode(" ".join(str(error).split()))


class Driver:
    """Connection to a cluster: runs tasks on any node, and sends results in any order."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._running: dict[int, Any] = {}
        self._outputs: dict[int, list[Any]] = {}
        self._events: SimpleQueue[Submit | Release | tuple[Submit, Future[Any]] | None] = (
            SimpleQueue()
        )

    def run(self, address: str) -> None:
        """Run the submitted tasks until standard input ends or a task fails."""
        Thread(target=self._receive, daemon=True).start()
        self._connect(address)
        Thread(target=self._send_heartbeats, daemon=True).start()
        self._check_versions()
        self._channel.send(Ready())
        while (event := self._events.get()) is not None:
            if isinstance(event, Submit):
                self._submit(event)
            elif isinstance(event, Release):
                for number in event.tasks:
                    self._outputs.pop(number, None)
            elif not self._finish(*event):
                break
        for reference in self._running.values():
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()

    def _connect(self, address: str) -> None:
        import ray

        self._ray: Any = ray
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL)
        except ConnectionError as error:
            raise RuntimeError("no cluster answers; is its head node running?") from error
        self._run: Any = ray.remote(num_cpus=1, max_retries=MAX_RETRIES)(run_on_node)

    def _submit(self, message: Submit) -> None:
        options = {
            "name": "process_fingerprints" if message.inputs else "scan_shard",
            "num_returns": message.outputs + 1,
        }
        inputs = (self._outputs[task][index] for task, index in message.inputs)
        references = self._run.options(**options).remote(
            VERSIONS, message.task, message.outputs, *inputs
        )
        reference, *outputs = references if message.outputs else [references]
        self._running[message.number] = reference
        if outputs:
            self._outputs[message.number] = outputs
        future = reference.future()
        future.add_done_callback(lambda future: self._events.put((message, future)))

    def _finish(self, task: Submit, future: Future[Any]) -> bool:
        """Send the result of a task. Return False if it has failed."""
        del self._running[task.number]
        try:
            result = future.result()
        except Exception as error:
            if type(error).__name__ == "LocalRayletDiedError":
                os._exit(1)  # this machine's node has died, and the connection with it
            result = Failure(describe_failure(error, has_inputs=bool(task.inputs)))
        if isinstance(result, bytes):
            self._channel.send(Result(task.number, result))
            return True
        self._channel.send(Failure(os.fsencode(result)) if isinstance(result, str) else result)
        return False

    def _receive(self) -> None:
        with suppress(Exception):  # of a message that is not valid, which ends the driver, too
            while isinstance(message := self._channel.receive(), Submit | Release):
                self._events.put(message)
        self._events.put(None)
        time.sleep(END_SECONDS)
        os._exit(1)

    def _send_heartbeats(self) -> None:
        while True:
            with suppress(Exception):  # the head may answer again before it counts as dead
                self._channel.send(Heartbeat(self._processors()))
            time.sleep(HEARTBEAT_SECONDS)

    def _processors(self) -> float:
        return float(sum(node["Resources"].get("CPU", 0) for node in self._nodes()))

    def _nodes(self) -> list[dict[str, Any]]:
        """Return the nodes that are alive. This asks the head."""
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _check_versions(self) -> None:
        """Raise `RuntimeError` if a node has other versions than this one.

        Each task checks them, too, since nodes may join later; but then nodes may have worked for
        hours, and the error names only one node.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        references = [
            self._run.options(
                name="check_versions",
                num_cpus=0,
                max_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            ).remote(VERSIONS, None)
            for node in self._nodes()
            if node["Resources"].get("CPU")
        ]
        if not references:
            return
        done, _ = self._ray.wait(references, num_returns=len(references), timeout=CHECK_SECONDS)
        errors = list(filter(None, map(self._version_error, done)))
        if errors:
            raise RuntimeError("; ".join(errors))

    def _version_error(self, reference: Any) -> str | None:
        """Return the message of a node with other versions, or None if it has the same."""
        try:
            message: str | None = self._ray.get(reference)
        except Exception:  # the node is gone; others take its tasks
            return None
        return message


def describe_failure(error: Exception, has_inputs: bool) -> bytes:
    """Return the message for a task that failed and is not tried again.

    Args:
        error: The error of Ray.
        has_inputs: True if the task compares or partitions fingerprints.
    """
    if type(error).__name__ in ("WorkerCrashedError", "OutOfMemoryError", "NodeDiedError"):
        reason = f"a task's worker process died {MAX_RETRIES + 1} times, maybe for lack of memory"
        advice = "give the nodes fewer processors (ray start --num-cpus)"
        if has_inputs:
            advice = f"if very many examples share a prompt, use `ignore` FT22; otherwise, {advice}"
        return f"{reason}; {advice}".encode()
    cause = getattr(error, "cause", None) or error
    return f"a task failed: {type(cause).__name__}: ".encode() + _one_line(cause)[:500]


def run_on_node(
    versions: tuple[str, str], task: bytes | None, output_count: int = 0, *inputs: Any
) -> Any:
    """Check the versions of this node, and run a task if there is one.

    Ray sends this function by value, as it is part of the driver's main module; so it runs where
    ftkit is missing, too.

    Args:
        versions: The versions that the node must have.
        task: The task, or None to check the versions only.
        output_count: Number of outputs of the task.
        inputs: Outputs of other tasks, or the errors that these had when Ray ran them again.

    Returns:
        The result of `run_task`; a message as text, if the versions are others; or None, if they
        are the same and there is no task. A task with outputs has a list of its result and them; if
        it fails, each is its error.
    """
    import sys

    import ray

    util: Any = ray.util
    address: str = util.get_node_ip_address()
    node = f"{address} ({ray.get_runtime_context().get_node_id()[:8]})"
    own = ["no ftkit", "Python {}.{}".format(*sys.version_info)]
    try:
        from ftkit._version import __version__

        own[0] = f"ftkit {__version__}"
        if own == list(versions):
            from ftkit.validation.ray_tasks import run_task
    except ImportError as error:
        own[0] += f" ({error})"
    if own != list(versions):
        advice = f"install {versions[0]} on all nodes"
        text = f"node {node} has {' and '.join(own)}, this machine {' and '.join(versions)}"
        results: Any = f"{text}; {advice}"
    elif task is None:
        return None
    else:
        results = run_task(task, node, inputs)
    if not isinstance(results, list):  # an error
        results = [results] * (output_count + 1)
    return results if output_count else results[0]


if __name__ == "__main__":
    main()
