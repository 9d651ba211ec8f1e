"""NETWORKS: one row per network of the paper (CVPR version). To add a network, add a row.

Parameters, widths and sizes were computed from the original definitions and equal the paper's
table of networks after rounding; top-1 accuracies are that table's: `public` those of the
published checkpoints (TF-Slim; DenseNets: none), `retrained` those of the paper's own training,
which its figures use. Multiply-adds were counted on the Keras networks (the three that Keras does
not have: as commonly published). This module imports no TensorFlow: programs check names here.
"""

import dataclasses

from tfbench import UserError


@dataclasses.dataclass(frozen=True)
class Network:
    """One ImageNet network.

    Attributes:
      name: what `--model` takes.
      title: the name in figures and tables.
      image_size: side of the square input in pixels at which the network was trained on ImageNet.
      minimum_size: smallest side for which it can be built.
      feature_width: number of penultimate (global-average-pooled) activations.
      parameters: trainable parameters without the logits layer.
      multiply_adds: 10^9 multiply-adds of one image at `image_size`, without the logits layer.
      value_range: "inception" (RGB in [-1, 1]), "caffe" (BGR minus the ImageNet mean, 0 to 255) or
        "torch" (RGB in [0, 1], standardised); see data/pipeline.py.
      public_top1, retrained_top1: ImageNet top-1 accuracy in [0, 1], or None.
      keras_name, alpha: builder in keras.applications and its width multiplier; "" where Keras
        Applications does not have the network.
    """

    name: str
    title: str
    image_size: int
    minimum_size: int
    feature_width: int
    parameters: int
    multiply_adds: float
    value_range: str
    public_top1: float | None
    retrained_top1: float
    keras_name: str = ""
    alpha: float = 1.0


NETWORKS = {row.name: row for row in (
    Network("inception_v1", "Inception v1", 224, 32, 1024, 5_592_624, 1.5, "inception", .698, .736),
    Network("bn_inception", "BN-Inception", 224, 32, 1024, 10_153_336, 2.0, "inception", .739, .753),
    Network("inception_v3", "Inception v3", 299, 75, 2048, 21_768_352, 5.711, "inception", .780, .786,
            "InceptionV3"),
    Network("inception_v4", "Inception v4", 299, 75, 1536, 41_111_232, 12.3, "inception", .802, .799),
    Network("inception_resnet_v2", "Inception-ResNet v2", 299, 75, 1536, 54_276_192, 13.154, "inception",
            .804, .803, "InceptionResNetV2"),
    Network("resnet_50", "ResNet-50", 224, 32, 2048, 23_508_032, 3.856, "caffe", .752, .769, "ResNet50"),
    Network("resnet_101", "ResNet-101", 224, 32, 2048, 42_500_160, 7.568, "caffe", .764, .786, "ResNet101"),
    Network("resnet_152", "ResNet-152", 224, 32, 2048, 58_143_808, 11.280, "caffe", .768, .793, "ResNet152"),
    Network("densenet_121", "DenseNet-121", 224, 32, 1024, 6_953_856, 2.833, "torch", None, .756,
            "DenseNet121"),
    Network("densenet_169", "DenseNet-169", 224, 32, 1664, 12_484_480, 3.358, "torch", None, .767,
            "DenseNet169"),
    Network("densenet_201", "DenseNet-201", 224, 32, 1920, 18_092_928, 4.289, "torch", None, .771,
            "DenseNet201"),
    Network("mobilenet_v1", "MobileNet v1", 224, 32, 1024, 3_206_976, .568, "inception", .709, .724,
            "MobileNet"),
    Network("mobilenet_v2", "MobileNet v2", 224, 32, 1280, 2_223_872, .299, "inception", .719, .716,
            "MobileNetV2"),
    Network("mobilenet_v2_14", "MobileNet v2 (1.4)", 224, 32, 1792, 4_315_776, .580, "inception", .749, .747,
            "MobileNetV2", 1.4),
    Network("nasnet_mobile", "NASNet-A Mobile", 224, 32, 1056, 4_232_978, .563, "inception", .740, .735,
            "NASNetMobile"),
    Network("nasnet_large", "NASNet-A Large", 331, 32, 4032, 84_720_150, 23.779, "inception", .827, .808,
            "NASNetLarge"),
)}


def check_network(row: Network, image_size: int) -> None:
    """Raises UserError unless the network can be built for images of `image_size` pixels a side."""
    if not row.keras_name:
        available = ", ".join(name for name, other in NETWORKS.items() if other.keras_name)
        raise UserError(f"the network {row.name} is not there yet in this version of tfbench: use one of "
                        f"{available}")
    if image_size < row.minimum_size:
        raise UserError(f"{row.name} needs images of at least {row.minimum_size} pixels a side, not "
                        f"{image_size}: raise --image_size")
