"""NETWORKS: one row per network of the paper. To add a network, add a row.

The first sixteen are those of the CVPR version, the others further candidates of the first. Parameters,
widths and sizes were computed from the original definitions (TF-Slim; DenseNet: torchvision) and equal
the paper's table of networks after rounding; top-1 accuracies are that table's: `public` those of the
published checkpoints (TF-Slim; DenseNets: none), `retrained` those of the paper's own training, which
its figures use. Multiply-adds are those of the networks as they are built here. This module imports no
TensorFlow: programs check names here.
"""

import dataclasses

VALUE_RANGES = {  # name -> what images a network takes; how they become so is in data/pipeline.py
    "inception": "RGB in [-1, 1]",
    "unit": "RGB in [0, 1]",
    "pixels": "RGB in [0, 255]",
    "rgb_mean": "RGB minus the ImageNet mean, 0 to 255",
    "caffe": "BGR minus the ImageNet mean, 0 to 255",
    "torch": "RGB in [0, 1], standardised",
}


@dataclasses.dataclass(frozen=True)
class Network:
    """One ImageNet network.

    Attributes:
      name: what `--model` takes.
      title: the name in figures and tables.
      family: "inception", "resnet_v1", …: which module builds it (models/original_names.py).
      image_size: side of the square input in pixels at which the network was trained on ImageNet.
      minimum_size: smallest side for which it can be built.
      feature_width: number of penultimate (global-average-pooled) activations.
      parameters: trainable parameters without the logits layer, with the original's batch norm.
      multiply_adds: 10^9 multiply-adds of one image at `image_size`, without the logits layer.
      value_range: of the network trained from random weights, that of its original, one of VALUE_RANGES. With
        pretrained weights their metadata says it.
      bn_scale, bn_epsilon, bn_momentum: the original's batch norm.
      dropout: fraction of the features that the original dropped before its logits.
      public_top1, retrained_top1: ImageNet top-1 accuracy in [0, 1], or None.
      architecture: of a network of the user's own (models/custom.py) a hash of what it computes; else "".
    """

    name: str
    title: str
    family: str
    image_size: int
    minimum_size: int
    feature_width: int
    parameters: int
    multiply_adds: float
    value_range: str
    bn_scale: bool
    bn_epsilon: float
    bn_momentum: float
    dropout: float
    public_top1: float | None
    retrained_top1: float | None
    architecture: str = ""

    @property
    def custom(self) -> bool:
        """Whether it is the user's own, no row of NETWORKS."""
        return bool(self.architecture)


def _inception(name, title, size, minimum, width, parameters, multiply_adds, public, retrained):
    return Network(name, title, "inception", size, minimum, width, parameters, multiply_adds, "inception",
                   False, 1e-3, .9997, .2, public, retrained)


def _resnet(family, layers, parameters, multiply_adds, public, retrained):
    version = {"resnet_v1": "", "resnet_v2": "v2_"}[family]
    title = f"ResNet-{layers}" + " v2" * bool(version)
    return Network(f"resnet_{version}{layers}", title, family, 224, 32, 2048, parameters, multiply_adds,
                   "inception" if version else "rgb_mean", True, 1e-5, .997, 0., public, retrained)


def _densenet(layers, width, parameters, multiply_adds, retrained):
    return Network(f"densenet_{layers}", f"DenseNet-{layers}", "densenet", 224, 32, width, parameters,
                   multiply_adds, "torch", True, 1e-5, .9, 0., None, retrained)


CUSTOM_FEATURES = "features"  # in place of a network's name, in rows of features of the user's own

NETWORKS = {row.name: row for row in (
    _inception("inception_v1", "Inception v1", 224, 32, 1024, 5_592_624, 1.497, .698, .736),
    _inception("bn_inception", "BN-Inception", 224, 32, 1024, 10_153_336, 1.934, .739, .753),
    _inception("inception_v3", "Inception v3", 299, 75, 2048, 21_768_352, 5.711, .780, .786),
    _inception("inception_v4", "Inception v4", 299, 75, 1536, 41_111_232, 12.252, .802, .799),
    _inception("inception_resnet_v2", "Inception-ResNet v2", 299, 75, 1536, 54_276_192, 13.154, .804, .803),
    _resnet("resnet_v1", 50, 23_508_032, 3.856, .752, .769),
    _resnet("resnet_v1", 101, 42_500_160, 7.568, .764, .786),
    _resnet("resnet_v1", 152, 58_143_808, 11.280, .768, .793),
    _densenet(121, 1024, 6_953_856, 2.833, .756),
    _densenet(169, 1664, 12_484_480, 3.358, .767),
    _densenet(201, 1920, 18_092_928, 4.289, .771),
    Network("mobilenet_v1", "MobileNet v1", "mobilenet", 224, 32, 1024, 3_206_976, .568, "inception",
            True, 1e-3, .9997, .001, .709, .724),
    Network("mobilenet_v2", "MobileNet v2", "mobilenet", 224, 32, 1280, 2_223_872, .299, "inception",
            True, 1e-3, .997, .2, .719, .716),
    Network("mobilenet_v2_14", "MobileNet v2 (1.4)", "mobilenet", 224, 32, 1792, 4_315_776, .580, "inception",
            True, 1e-3, .997, .2, .749, .747),
    Network("nasnet_mobile", "NASNet-A Mobile", "nasnet", 224, 32, 1056, 4_232_978, .563, "inception",
            True, 1e-3, .9997, .5, .740, .735),
    Network("nasnet_large", "NASNet-A Large", "nasnet", 331, 32, 4032, 84_720_150, 23.779, "inception",
            True, 1e-3, .9997, .5, .827, .808),
    Network("vgg_16", "VGG-16", "vgg", 224, 224, 4096, 134_260_544, 15.466, "rgb_mean",
            True, 1e-3, .9997, .5, .715, None),
    Network("vgg_19", "VGG-19", "vgg", 224, 224, 4096, 139_570_240, 19.628, "rgb_mean",
            True, 1e-3, .9997, .5, .711, None),
    _resnet("resnet_v2", 50, 23_519_360, 3.480, .756, None),
    _resnet("resnet_v2", 101, 42_528_896, 7.192, .770, None),
    _resnet("resnet_v2", 152, 58_187_904, 10.905, .778, None),
    Network("pnasnet_mobile", "PNASNet-5 Mobile", "pnasnet", 224, 32, 1080, 3_983_487, .586, "inception",
            True, 1e-3, .9997, .5, .742, None),
    Network("pnasnet_large", "PNASNet-5 Large", "pnasnet", 331, 32, 4320, 81_736_668, 24.933, "inception",
            True, 1e-3, .9997, .5, .829, None),
)}

PAPER = tuple(name for name, row in NETWORKS.items() if row.retrained_top1 is not None)  # of the CVPR version
# The thirteen of the first version; which they were beside the Inceptions, ResNets and NASNet-A Large is assumed.
PAPER_V1 = ("vgg_16", "vgg_19", "inception_v1", "bn_inception", "inception_v3", "inception_v4", "inception_resnet_v2",
            "resnet_50", "resnet_101", "resnet_152", "mobilenet_v1", "nasnet_mobile", "nasnet_large")
GROUPS = {"paper": PAPER, "paper_v1": PAPER_V1}  # what --models of a study takes beside names
