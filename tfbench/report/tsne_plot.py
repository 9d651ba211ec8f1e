"""Features embedded in the plane by t-SNE, and their figure: a panel per network, coloured by class (v3 figure 4)."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd

from tfbench.report import plots

COLUMNS = 4  # panels beside each other
_MARKERS = f"{plots.MARKERS}h"  # one for each of ten colours


def embed(features: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    """Points of the plane, float [n, 2], by scikit-learn's TSNE, started from the principal components.

    Args:
      features: float [n, width], taken as they are. perplexity: less than n.
    """
    from sklearn.manifold import TSNE

    return TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(features)


def draw(points: Sequence[np.ndarray], titles: Sequence[str], classes: np.ndarray,
         names: Sequence[str]) -> tuple[bytes, bytes]:
    """(SVG, PNG) of the figure.

    Args:
      points: [n, 2] of each panel. titles: of the panels.
      classes: [n] int, of each point. names: of the classes.
    """
    columns = min(len(points), COLUMNS)
    rows = -(-len(points) // columns)
    figure = plots.new_figure(max(4.2 * columns, 6), 4.4 * rows + 0.7)
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    colors = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    for axes, xy, title in zip(all_axes, points, titles, strict=False):
        for number, name in enumerate(names):
            some = xy[classes == number]
            axes.scatter(some[:, 0], some[:, 1], s=14, color=colors[number], marker=_MARKERS[number], label=name,
                         alpha=0.8, linewidths=0)
        axes.set_title(title, color=plots.INK, fontsize=10)
        axes.set_facecolor(plots.PAPER)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xticks([])  # t-SNE's units mean nothing
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color(plots.INK)
            spine.set_alpha(0.3)
    for axes in all_axes[len(points):]:
        axes.set_visible(False)
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, [plots.shortened(label) for label in labels], loc="outside lower center",
                  ncols=min(len(names), 5), fontsize=9, frameon=False, labelcolor=plots.INK, **plots.DENSE)
    return plots.save(figure)


def csv(points: Sequence[np.ndarray], panels: Sequence[tuple[str, str]], classes: np.ndarray, names: Sequence[str],
        keys: Sequence[str]) -> str:
    """The points as CSV: network, weights, class, key of the image, x, y.

    Args:
      panels: network and weights of each. keys: of the images. The others: as of draw.
    """
    frames = [pd.DataFrame({"network": network, "weights": weights, "class": [names[number] for number in classes],
                            "key": keys, "x": xy[:, 0], "y": xy[:, 1]})
              for xy, (network, weights) in zip(points, panels, strict=True)]
    return pd.concat(frames).to_csv(index=False, lineterminator="\n", float_format="%.4f")
