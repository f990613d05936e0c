"""Whether learning runs ended in different equilibria: distances of their policies, clusters, and the noise to compare them with.

Runs of one learner differ by chance alone. They are said to be in different clusters only where groups of them are farther apart
than a noise floor:

own snapshots    the largest distance between the last two tables that one run kept on the way. Learning that still goes somewhere
                 raises the floor, tables kept close to each other lower it
permutation      where nothing was kept: in every (s_g, s_l) the runs' laws are dealt out anew to the runs, which keeps how much
                 they differ there and destroys what they have in common across situations; the 95 % quantile of the distance at
                 which the last two groups join. Noise that a run shares between situations is not in it

Groups are joined by average linkage (Sokal and Michener 1958). The silhouette is that of Rousseeuw (1987).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..game import Game
from .flow import Flow
from .flow_law import PlayedLaw

MEASURES = ("policy_tv", "policy_w1", "action_tv", "action_w1", "state_tv")
"""Distances: of the laws of actions by situation, of the long-run laws of actions, of own states."""

PERMUTATIONS = 200
QUANTILE = 0.95
# With fewer situations than this dealing out anew hardly changes anything.
LEAST_SITUATIONS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Habits:
    """What a population does in the long run.

    Parameters
    ----------
    law : float64[n_sg, n_sl, n_al]     law of actions by situation, over the b that are met there
    occupancy : float64[n_sg, n_sl]     long-run law of an agent's situation
    """

    law: np.ndarray
    occupancy: np.ndarray

    @property
    def actions(self) -> np.ndarray:
        """Long-run law of actions, float64[n_al]."""
        return np.einsum("gs,gsa->a", self.occupancy, self.law)


@dataclass(frozen=True, kw_only=True, eq=False)
class Clusters:
    """Runs by how far apart they ended.

    Parameters
    ----------
    measure : str                          distance that they were grouped by
    distances : dict of float64[runs, runs]    by measure
    linkage : float64[runs − 1, 4]         as SciPy has it
    labels : int64[runs]                   clusters from 1, by their size
    floor : float                          noise floor; NaN if there is none
    floor_of : str                         where it comes from: "own snapshots", "permutation" or "given"; "" if there is none
    silhouette : float                     mean over the runs; NaN for one cluster
    """

    measure: str
    distances: dict[str, np.ndarray]
    linkage: np.ndarray
    labels: np.ndarray
    floor: float
    floor_of: str
    silhouette: float

    @property
    def n_clusters(self) -> int:
        return int(self.labels.max())

    @property
    def last_join(self) -> float:
        """Distance at which the last two groups of runs join."""
        return float(self.linkage[-1, 2])

    def verdict(self) -> str:
        """What may be said, in one sentence."""
        if math.isnan(self.floor):
            return (
                f"no verdict: the last groups of runs join at a {self.measure} distance of {self.last_join:.3g}, and there is no "
                "noise floor to compare it with"
            )
        against = f"against a noise floor of {self.floor:.3g} ({self.floor_of})"
        if self.n_clusters == 1:
            return f"one cluster: all runs join within a {self.measure} distance of {self.last_join:.3g} {against}"
        sizes = np.bincount(self.labels)[1:]
        # The lowest join above the floor separates the two clusters that are closest.
        joins = self.linkage[:, 2]
        return (
            f"{self.n_clusters} clusters of {', '.join(map(str, sizes))} runs at a {self.measure} distance of "
            f"{joins[joins > self.floor].min():.3g} or more {against}, silhouette {self.silhouette:.2f}"
        )


def habits(played: PlayedLaw, flow: Flow) -> Habits:
    """What a population that plays a law does on its flow."""
    game = played.game
    s_g, b = flow.contexts.T
    weight = np.zeros((game.n_sg, game.n_sl, played.seen.n_values))
    weight[s_g, :, b] = flow.visits[:, None] / flow.visits.sum() * flow.local_law
    occupancy = weight.sum(axis=-1)
    # In situations that are never met: over the b that are met in s_g, or anywhere.
    at_s_g = weight.sum(axis=1)
    anywhere = np.where(at_s_g.sum(axis=1, keepdims=True) > 0.0, at_s_g, at_s_g.sum(axis=0))
    weight = np.where(occupancy[..., None] > 0.0, weight, anywhere[:, None])
    law = np.einsum("gsb,gsba->gsa", weight / weight.sum(axis=-1, keepdims=True), played.law)
    return Habits(law=law, occupancy=occupancy)


def action_scale(game: Game) -> np.ndarray | None:
    """Numbers that actions stand for: their labels, or the weights of a field of actions; None if there are none."""
    labels = game.labels.local_actions
    if all(isinstance(label, (int, float)) for label in labels):
        return np.array(labels, dtype=np.float64)
    if game.field is not None and game.field.of == "actions" and len(game.field.weights) == 1:
        return np.array(game.field.weights[0])
    return None


def distance(one: Habits, other: Habits, measure: str, scale: np.ndarray | None) -> float:
    """Distance of two populations.

    Parameters
    ----------
    measure : one of MEASURES
    scale : float64[n_al], optional    numbers that actions stand for; the Wasserstein distances need it

    policy_tv and policy_w1 are means over situations, weighted by the mean of the two occupancies, of the total variation and the
    1-Wasserstein distance of the laws of actions; the others compare long-run laws.
    """
    if measure == "state_tv":
        return 0.5 * float(np.abs(one.occupancy.sum(axis=0) - other.occupancy.sum(axis=0)).sum())
    between = _total_variation if measure.endswith("_tv") else _wasserstein(scale)
    if measure.startswith("action"):
        return float(between(one.actions, other.actions))
    weight = 0.5 * (one.occupancy + other.occupancy)
    return float((weight * between(one.law, other.law)).sum())


def _total_variation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return 0.5 * np.abs(one - other).sum(axis=-1)


def _wasserstein(scale: np.ndarray | None):
    if scale is None:
        raise ValueError(
            "measure: found a Wasserstein distance for actions that are no numbers, expected a _tv measure"
        )
    order = np.argsort(scale, kind="stable")
    steps = np.diff(scale[order])

    def between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        ahead = np.cumsum((one - other)[..., order], axis=-1)[..., :-1]
        return (np.abs(ahead) * steps).sum(axis=-1)

    return between


def cluster_runs(
    runs: Sequence[Habits],
    *,
    scale: np.ndarray | None = None,
    measure: str | None = None,
    snapshots: Sequence[Habits] | None = None,
    floor: float | None = None,
    seed: int = 0,
) -> Clusters:
    """Group runs by the distance of their policies, as far as it exceeds the noise floor.

    Parameters
    ----------
    runs : sequence of Habits, at least 2
    scale : float64[n_al], optional    numbers that actions stand for
    measure : one of MEASURES, optional    by default policy_w1 where actions are numbers, else policy_tv
    snapshots : sequence of Habits, optional    of the same runs, some time before
    floor : float, optional            a noise floor that is known
    seed : int                         of the permutations

    Returns
    -------
    Clusters

    Raises
    ------
    ValueError
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(runs) < 2:
        raise ValueError(f"runs: found {len(runs)}, expected at least 2 to compare")
    measure = measure or ("policy_tv" if scale is None else "policy_w1")
    if measure not in MEASURES:
        raise ValueError(f"measure: found {measure!r}, expected one of {', '.join(MEASURES)}")
    known = [name for name in MEASURES if scale is not None or not name.endswith("_w1")]
    distances = {name: _matrix(runs, name, scale) for name in dict.fromkeys([*known, measure])}
    joined = linkage(squareform(distances[measure], checks=False), method="average")
    floor_of = "given"
    if floor is None:
        floor, floor_of = _noise_floor(runs, snapshots, measure, scale, seed)
    labels = np.ones(len(runs), dtype=np.int64)
    if not math.isnan(floor):
        found = fcluster(joined, floor, criterion="distance")
        sizes = np.bincount(found)
        order = sorted(range(1, sizes.size), key=lambda c: (-sizes[c], int(np.flatnonzero(found == c)[0])))
        labels = np.array([order.index(c) + 1 for c in found], dtype=np.int64)
    return Clusters(
        measure=measure,
        distances=distances,
        linkage=joined,
        labels=labels,
        floor=floor,
        floor_of=floor_of,
        silhouette=silhouette(distances[measure], labels),
    )


def _matrix(runs: Sequence[Habits], measure: str, scale: np.ndarray | None) -> np.ndarray:
    found = np.zeros((len(runs), len(runs)))
    for i in range(len(runs)):
        for j in range(i):
            found[i, j] = found[j, i] = distance(runs[i], runs[j], measure, scale)
    return found


def _noise_floor(
    runs: Sequence[Habits], snapshots: Sequence[Habits] | None, measure: str, scale: np.ndarray | None, seed: int
) -> tuple[float, str]:
    """The noise floor and where it comes from; NaN if there is none."""
    if snapshots is not None:
        return max(
            distance(now, then, measure, scale) for now, then in zip(runs, snapshots, strict=True)
        ), "own snapshots"
    occupancy = np.mean([run.occupancy for run in runs], axis=0)
    if measure not in ("policy_tv", "policy_w1") or np.count_nonzero(occupancy > 0.0) < LEAST_SITUATIONS:
        return math.nan, ""
    return _permuted_floor(np.stack([run.law for run in runs]), occupancy, measure, scale, seed), "permutation"


def _permuted_floor(
    laws: np.ndarray, occupancy: np.ndarray, measure: str, scale: np.ndarray | None, seed: int
) -> float:
    from scipy.cluster.hierarchy import linkage

    generator = np.random.default_rng(seed)
    between = _total_variation if measure == "policy_tv" else _wasserstein(scale)
    n_runs = len(laws)
    met = np.flatnonzero(occupancy.ravel() > 0.0)
    table = laws.reshape(n_runs, -1, laws.shape[-1])[:, met]
    weight = occupancy.ravel()[met]
    # Distances of all pairs of runs in every situation; dealing out anew only permutes their places.
    apart = np.stack([between(table[i][None], table) for i in range(n_runs)])
    first, second = np.triu_indices(n_runs, 1)
    place = np.arange(met.size)
    last = []
    for _ in range(PERMUTATIONS):
        dealt = generator.permuted(np.tile(np.arange(n_runs)[:, None], met.size), axis=0)
        last.append(linkage(apart[dealt[first], dealt[second], place] @ weight, method="average")[-1, 2])
    return float(np.quantile(last, QUANTILE))


def silhouette(distances: np.ndarray, labels: np.ndarray) -> float:
    """Mean silhouette of clusters (Rousseeuw 1987, eq. 1); a run alone in its cluster counts 0. NaN for one cluster.

    Parameters
    ----------
    distances : float64[runs, runs]
    labels : int64[runs]
    """
    names = np.unique(labels)
    if names.size < 2:
        return math.nan
    total = 0.0
    for i, own in enumerate(labels):
        mine = labels == own
        if mine.sum() == 1:
            continue
        inside = distances[i, mine].sum() / (mine.sum() - 1)
        outside = min(distances[i, labels == other].mean() for other in names if other != own)
        largest = max(inside, outside)
        total += (outside - inside) / largest if largest > 0.0 else 0.0
    return total / len(labels)
