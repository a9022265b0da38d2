"""Room for a job on the nodes of a Ray cluster."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

from ftkit.server.ray_client import RESOURCES, Node, RayJob
from ftkit.server.recipes import Recipe
from ftkit.server.runner import Room

RESERVED = "ftkit_reserved_"
"""Start of the metadata of a job with the amount of each resource."""

MAX_KINDS = 5
"""Maximum number of kinds of nodes in a message."""

Amounts = dict[str, float]
"""Amounts of resources by Ray's names."""


def reservation(recipe: Recipe) -> Amounts:
    """Return the resources that a job reserves on a node.

    It has at least one CPU: Ray runs jobs without any resources on the head.
    """
    return {"CPU": float(max(1, recipe.threads)), "GPU": float(recipe.gpus)}


def find_room(
    needed: Amounts,
    nodes: Collection[Node],
    jobs: Collection[RayJob],
    unplaced: Iterable[Amounts],
) -> Room:
    """Return the room for a job.

    Args:
        needed: Resources that the job reserves on one node.
        nodes: Nodes of the cluster.
        jobs: Jobs of the service that the cluster shows.
        unplaced: Resources of further jobs, which are on no node yet.
    """
    if not any(_fits(needed, node.total) for node in nodes):
        return Room(False, _obstacle(needed, nodes))
    placed: dict[str, list[Amounts]] = {node.id: [] for node in nodes}
    pending = list(unplaced)
    for job in jobs:
        if job.status == "RUNNING":  # perhaps on a node that is not shown
            placed.get(job.driver_node_id or "", pending).append(_reserved(job))
        elif job.status == "PENDING":
            pending.append(_reserved(job))
    free = [_free(node, placed[node.id]) for node in nodes]
    for resources in pending:
        _place(resources, free)
    if any(_fits(needed, amounts) for amounts in free):
        return Room(True)
    return Room(False, reason=f"no node of the Ray cluster has {_text(needed)} free")


def _reserved(job: RayJob) -> Amounts:
    """Return the resources of a job of this service."""
    metadata = job.metadata or {}
    return {name: _amount(metadata.get(f"{RESERVED}{name}", "0")) for name in RESOURCES}


def _amount(text: str) -> float:
    """Return an amount in the metadata of a job, which any user of the cluster can set."""
    try:
        amount = float(text)
    except ValueError:
        return 0.0
    return amount if math.isfinite(amount) and amount > 0 else 0.0


def _fits(needed: Amounts, amounts: Amounts) -> bool:
    return all(amounts.get(name, 0.0) >= amount for name, amount in needed.items())


def _free(node: Node, reserved: Iterable[Amounts]) -> Amounts:
    """Return the free resources of a node, or more: a job that waits in Ray does no harm.

    What others use and the jobs of this service that are not reported yet cannot be told apart.

    Args:
        node: The node. What it reports as used is some seconds old.
        reserved: Resources of the jobs of this service that run there.
    """
    own = dict.fromkeys(node.total, 0.0)
    for resources in reserved:
        _add(own, resources)
    return {
        name: total - max(node.used.get(name, 0.0), own[name]) for name, total in node.total.items()
    }


def _place(resources: Amounts, free: list[Amounts]) -> None:
    """Take the resources of a job from the first node that has them."""
    amounts = next((amounts for amounts in free if _fits(resources, amounts)), None)
    if amounts is not None:
        _add(amounts, {name: -amount for name, amount in resources.items()})


def _add(amounts: Amounts, more: Amounts) -> None:
    for name, amount in more.items():
        amounts[name] = amounts.get(name, 0.0) + amount


def _obstacle(needed: Amounts, nodes: Collection[Node]) -> str:
    """Return the reason why no node can run a job, however long it waits."""
    if not nodes:
        return f"the Ray cluster has no node; the job needs one with {_text(needed)}"
    kinds = {tuple(node.total.get(name, 0.0) for name in needed) for node in nodes}
    kinds = {kind for kind in kinds if any(kind)} or kinds  # without a head that runs no jobs
    texts = [
        " and ".join(f"{amount:g} {name}" for name, amount in zip(needed, kind, strict=True))
        for kind in sorted(kinds, reverse=True)
    ]
    more = f"; and {len(texts) - MAX_KINDS} more kinds" if len(texts) > MAX_KINDS else ""
    return (
        f"no node of the Ray cluster has {_text(needed)}, which the job reserves; its nodes have"
        f" {', or '.join(texts[:MAX_KINDS])}{more}; see `gpus` and `threads` of its recipe"
    )


def _text(amounts: Amounts) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in amounts.items() if amount)
