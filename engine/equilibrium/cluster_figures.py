"""A figure of how far apart the policies of learning runs are, with the noise to compare it with."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..figure_parts import INK, LINE_STYLES, SEQUENCE, add_titles, new_figure, subtitle
from .clusters import Clusters

HEIGHT_IN = 3.9
MOST_LABELLED = 30
FLOOR_INK = LINE_STYLES[0][0]
ACROSS_INK = "0.35"
MEASURE_NAMES = {
    "policy_tv": "Distance of policies [total variation]",
    "policy_w1": "Distance of policies [Wasserstein, actions]",
    "action_tv": "Distance of long-run actions [total variation]",
    "action_w1": "Distance of long-run actions [Wasserstein, actions]",
    "state_tv": "Distance of own states [total variation]",
}


def draw_clusters(
    path: str | Path,
    clusters: Clusters,
    *,
    runs: tuple[int, ...] | None = None,
    title: str = "Did the runs learn the same?",
    note: str = "",
    svg: bool = False,
) -> list[Path]:
    """Dendrogram of the runs with the noise floor, and the matrix of their distances in its order.

    Parameters
    ----------
    path, svg : as in `engine.figure_parts.new_figure`
    clusters : Clusters
    runs : tuple of int, optional    numbers of the runs; by default from 0
    title, note : str

    Returns : list of the paths written

    Raises : what `engine.figure_parts.new_figure` raises
    """
    from scipy.cluster.hierarchy import dendrogram

    names = [str(run) for run in (runs or range(clusters.labels.size))]
    with new_figure(path, HEIGHT_IN, svg=svg) as (figure, paths):
        tree, matrix = figure.subplots(1, 2, width_ratios=[1.0, 1.15])
        # One colour would say that clusters were found; above the floor the branches are grey.
        above = dict.fromkeys(range(2 * clusters.labels.size - 1), INK)
        for join, height in enumerate(clusters.linkage[:, 2]):
            if not math.isnan(clusters.floor) and height > clusters.floor:
                above[clusters.labels.size + join] = ACROSS_INK
        order = dendrogram(
            clusters.linkage, ax=tree, labels=names, link_color_func=lambda link: above[link], leaf_font_size=7.0,
            leaf_rotation=_rotation(len(names)), no_plot=clusters.last_join == 0.0,
        )["leaves"]  # fmt: skip
        _finish_tree(tree, clusters)
        _draw_matrix(figure, matrix, clusters, order, names)
        add_titles(figure, title, subtitle(note, clusters.verdict()))
    return paths


def _rotation(n_labels: int) -> int:
    return 90 if n_labels > 12 else 0


def _finish_tree(axes: Axes, clusters: Clusters) -> None:
    axes.grid(False, axis="x")
    axes.set_xlabel("Run")
    axes.set_ylabel(MEASURE_NAMES[clusters.measure])
    top = clusters.last_join
    if not math.isnan(clusters.floor):
        top = max(top, clusters.floor)
        axes.axhline(clusters.floor, color=FLOOR_INK, ls="--", lw=1.3)
        axes.annotate(
            "noise floor", (1.0, clusters.floor), xycoords=("axes fraction", "data"), xytext=(-2, 3),
            textcoords="offset points", ha="right", color=FLOOR_INK, fontsize=8,
        )  # fmt: skip
    axes.set_ylim(0.0, 1.12 * top or 1.0)
    # Without heights no tree is drawn.
    if clusters.labels.size > MOST_LABELLED or clusters.last_join == 0.0:
        axes.set_xticks([])


def _draw_matrix(figure: Figure, axes: Axes, clusters: Clusters, order: list[int], names: list[str]) -> None:
    distances = clusters.distances[clusters.measure][np.ix_(order, order)]
    image = axes.imshow(distances, cmap=SEQUENCE, vmin=0.0, vmax=float(distances.max()) or 1.0, interpolation="nearest")
    axes.grid(False)
    axes.set_xlabel("Run, in the order of the tree")
    # Lines between clusters.
    labels = clusters.labels[order]
    for place in np.flatnonzero(np.diff(labels)) + 0.5:
        axes.axhline(place, color="white", lw=1.2)
        axes.axvline(place, color="white", lw=1.2)
    places = range(len(order)) if len(order) <= MOST_LABELLED else range(0, len(order), -(-len(order) // MOST_LABELLED))
    shown = [names[order[place]] for place in places]
    axes.set_xticks(list(places), labels=shown, fontsize=7, rotation=_rotation(len(order)))
    axes.set_yticks(list(places), labels=shown, fontsize=7)
    bar = figure.colorbar(image, ax=axes, label="distance")
    bar.outline.set_visible(False)
