"""Random weights in the place of the public ones, for where those cannot be fetched.

python tests/helpers/stand_in_weights.py WEIGHTS_DIR NETWORK,…  writes those that your_dataset.ipynb is run with.
"""

import sys

import keras
import numpy as np

from tfbench.models import inspection, weights
from tfbench.models.build import build_network
from tfbench.models.catalog import GROUPS
from tfbench.models.lookup import get_network


def write(weights_dir, names, image_size: int = 64) -> None:
    """Writes weights files of networks where `--weights=imagenet` looks for them.

    Statistics of batch norm are those of a few images, else features would hardly differ between photographs. The
    metadata state no accuracy: nothing is known of these weights.
    """
    draw = np.random.default_rng(0)
    squares = np.kron(draw.uniform(size=[16, 8, 8, 3]), np.ones([1, image_size // 8, image_size // 8, 1]))
    for name in names:
        network = get_network(name)
        model = build_network(network, image_size=image_size)
        for layer in inspection.all_layers(model):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0
        model(np.float32(255 * squares if network.value_range == "pixels" else 2 * squares - 1), training=True)
        weights.save(model, weights.imagenet_path(weights_dir, name), {
            "network": name, "dataset": "imagenet", "accuracy": None, "n_test": None, "accuracy_is": "unknown",
            "value_range": network.value_range, "source": "random", "image_size": network.image_size},
            classifier=False)


if __name__ == "__main__":
    write(sys.argv[1], [name for part in sys.argv[2].split(",") for name in GROUPS.get(part, [part])])
