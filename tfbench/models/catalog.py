"""NETWORKS: one row per network of the paper. To add a network of Keras Applications, add a row.

    Network("xception", "Xception", "keras", "untouched", 299, 71, 2048, 20_806_952, 8.355, "inception",
            keras_application=KerasApplication("Xception"),
            weights=(keras_file("xception/xception" + KERAS_ENDING, "md5:0a58e3b7378bc2990ea3b43d5981f1f6", "inception",
                           "inception", 299, .790, .945),)),

Such a row is all that there is to it: families/untouched.py builds what Keras defines. A network that Keras lacks, or
that must be another function than Keras's, needs a module in families/ too.

The first sixteen are those of the CVPR version, the others further candidates of the first. Parameters, widths and
sizes were computed from the original definitions (TF-Slim; DenseNet: torchvision). They equal the paper's table of
networks after rounding. `retrained_top1` is that table's, of the paper's own training, which its figures use.
Multiply-adds are those of the networks as they are built here. This module imports no TensorFlow: programs check
names here.
"""

import dataclasses

from tfbench.models.public_weights import KERAS_ENDING, SLIM_MOBILENET_V2, PublicWeights, caffe, keras_file, slim

VALUE_RANGES = {  # name -> what images a network takes; how they become so is in data/pipeline.py
    "inception": "RGB in [-1, 1]",
    "unit": "RGB in [0, 1]",
    "pixels": "RGB in [0, 255]",
    "rgb_mean": "RGB minus the ImageNet mean, 0 to 255",
    "caffe": "BGR minus the ImageNet mean, 0 to 255",
    "torch": "RGB in [0, 1], standardised",
}

SWITCHES = {  # name of a flag -> what it switches on, where the network's definition has it
    "dropout": "dropout", "auxiliary_head": "auxiliary head", "drop_path": "drop path"}


@dataclasses.dataclass(frozen=True)
class KerasApplication:
    """How Keras Applications calls a network.

    Attributes:
      name: a function of keras.applications.
      scope: top scope of the original checkpoint, where families/keras_networks.py builds the network.
      arguments: what the function takes beside its defaults.
    """

    name: str
    scope: str = ""
    arguments: dict = dataclasses.field(default_factory=dict, hash=False)


@dataclasses.dataclass(frozen=True)
class Network:
    """One ImageNet network.

    Attributes:
      name: what `--model` takes.
      title: the name in figures and tables.
      family: "inception", "resnet_v1", …: what its builder distinguishes.
      builder: the module of models/families/ that builds it.
      image_size: side of the square input in pixels at which the network's ImageNet accuracy was measured, and at which
        it transfers unless its weights' metadata name another (public_weights.PublicWeights.eval_size).
      minimum_size: smallest side for which it can be built.
      feature_width: number of penultimate activations, the input of the classifier.
      parameters: trainable parameters without the logits layer, with the original's batch norm.
      multiply_adds: 10^9 multiply-adds of one image at `image_size`, without the logits layer.
      value_range: of the network trained from random weights, that of its original, one of VALUE_RANGES. With
        pretrained weights their metadata says it.
      bn_scale, bn_epsilon, bn_momentum: the original's batch norm; an untouched network has its own.
      dropout: fraction of the features that the original dropped before its logits.
      retrained_top1: ImageNet top-1 accuracy of the paper's training in [0, 1], or None.
      keras_application: None for a network that Keras Applications lacks.
      weights: its public ImageNet weights; the first are taken unless told otherwise.
      auxiliary_head: whether the original has an auxiliary classifier that is built here.
      drop_path_keep: keep probability of the original's drop path in the last cell at the end of training; 1: none.
      architecture: of a custom network (models/custom.py) a hash of what it computes; else "".
      taken: of a custom network, in one line, what it was taken for; else "".
    """

    name: str
    title: str
    family: str
    builder: str
    image_size: int
    minimum_size: int
    feature_width: int
    parameters: int
    multiply_adds: float
    value_range: str
    bn_scale: bool = True
    bn_epsilon: float = 1e-3
    bn_momentum: float = .99
    dropout: float = 0.
    retrained_top1: float | None = None
    keras_application: KerasApplication | None = None
    weights: tuple[PublicWeights, ...] = ()
    auxiliary_head: bool = False
    drop_path_keep: float = 1.0
    architecture: str = ""
    taken: str = dataclasses.field(default="", compare=False)

    @property
    def switches(self) -> tuple[str, ...]:
        """Which of SWITCHES its definition has."""
        has = {"dropout": self.dropout > 0, "auxiliary_head": self.auxiliary_head,
               "drop_path": self.drop_path_keep < 1}
        return tuple(name for name in SWITCHES if has[name])

    @property
    def custom(self) -> bool:
        """Whether it is a custom network, no row of NETWORKS."""
        return bool(self.architecture)

    @property
    def public_top1(self) -> float | None:
        """Published ImageNet top-1 accuracy in [0, 1] of the public weights that are taken unless told otherwise:
        TF-Slim's, as in the paper's table, for DenseNets Keras's; None without any."""
        return self.weights[0].top1 if self.weights else None

    @property
    def top1(self) -> float | None:
        """ImageNet top-1 accuracy in [0, 1]: of the paper's training, else of the first public weights, else None."""
        return self.public_top1 if self.retrained_top1 is None else self.retrained_top1


def _inception(name, title, size, minimum, width, parameters, multiply_adds, retrained, *weights, application=None,
               auxiliary_head=False):
    return Network(name, title, "inception", "inception", size, minimum, width, parameters, multiply_adds, "inception",
                   False, 1e-3, .9997, .2, retrained, application, weights, auxiliary_head)


def _resnet(layers, parameters, multiply_adds, retrained, *weights):
    return Network(f"resnet_{layers}", f"ResNet-{layers}", "resnet_v1", "keras_networks", 224, 32, 2048, parameters,
                   multiply_adds, "rgb_mean", True, 1e-5, .997, 0., retrained,
                   KerasApplication(f"ResNet{layers}", f"resnet_v1_{layers}"), weights)


# TF-Slim's README: "ResNet V2 models use Inception pre-processing and input image size of 299". Its published
# accuracies are of that size, so they transfer at 299 pixels; Keras's files were measured, and transfer, at 224.
def _resnet_v2(layers, parameters, multiply_adds, *weights):
    return Network(f"resnet_v2_{layers}", f"ResNet-{layers} v2", "resnet_v2", "keras_networks", 299, 32, 2048,
                   parameters, multiply_adds, "inception", True, 1e-5, .997, 0., None,
                   KerasApplication(f"ResNet{layers}V2", f"resnet_v2_{layers}"), weights)


def _densenet(layers, width, parameters, multiply_adds, retrained, checksum, top1, top5):
    file = keras_file(f"densenet/densenet{layers}" + KERAS_ENDING, checksum, "torch", "vgg", 224, top1, top5)
    return Network(f"densenet_{layers}", f"DenseNet-{layers}", "densenet", "keras_networks", 224, 32, width, parameters,
                   multiply_adds, "torch", True, 1e-5, .9, 0., retrained,
                   KerasApplication(f"DenseNet{layers}", f"densenet{layers}"), (file,))


def _mobilenet(name, title, width, parameters, multiply_adds, bn_momentum, dropout, retrained, application, *weights):
    return Network(name, title, "mobilenet", "keras_networks", 224, 32, width, parameters, multiply_adds, "inception",
                   True, 1e-3, bn_momentum, dropout, retrained, application, weights)


def _nasnet(name, title, family, size, width, parameters, multiply_adds, retrained, *weights, application=None,
            drop_path_keep=1.0):
    return Network(name, title, family, family, size, 32, width, parameters, multiply_adds, "inception",
                   True, 1e-3, .9997, .5, retrained, application, weights, True, drop_path_keep)


def _vgg(layers, parameters, multiply_adds, *weights):
    return Network(f"vgg_{layers}", f"VGG-{layers}", "vgg", "keras_networks", 224, 224, 4096, parameters, multiply_adds,
                   "rgb_mean", True, 1e-3, .9997, .5, None, KerasApplication(f"VGG{layers}", f"vgg_{layers}"), weights)


CUSTOM_FEATURES = "features"  # in place of a network's name, in rows of custom features

NETWORKS = {network.name: network for network in (
    _inception("inception_v1", "Inception v1", 224, 32, 1024, 5_592_624, 1.497, .736,
               slim("inception_v1_2016_08_28.tar.gz", 224, .698, .896, 24_642_554,
                    "sha256:7a620c430fcaba8f8f716241f5148c4c47c035cce4e49ef02cfbe6cd1adf96a6")),
    _inception("bn_inception", "BN-Inception", 224, 32, 1024, 10_153_336, 1.934, .753,
               slim("inception_v2_2016_08_28.tar.gz", 224, .739, .918, 41_577_079,
                    "sha384:c0b2efbae8fc5e237ae67637dca3f311d4b4f7da576b56067e83d95c398a2fcc"
                    "d50baff9cc0de64335f4d7b78e1adb07")),
    _inception("inception_v3", "Inception v3", 299, 75, 2048, 21_768_352, 5.711, .786,
               slim("inception_v3_2016_08_28.tar.gz", 299, .780, .939),
               keras_file("inception_v3/inception_v3" + KERAS_ENDING, "md5:9a0d58056eeedaa3f26cb7ebd46da564",
                          "inception", "inception", 299, .779, .937), application=KerasApplication("InceptionV3"),
               auxiliary_head=True),
    _inception("inception_v4", "Inception v4", 299, 75, 1536, 41_111_232, 12.252, .799,
               slim("inception_v4_2016_09_09.tar.gz", 299, .802, .952), auxiliary_head=True),
    _inception("inception_resnet_v2", "Inception-ResNet v2", 299, 75, 1536, 54_276_192, 13.154, .803,
               slim("inception_resnet_v2_2016_08_30.tar.gz", 299, .804, .953, None,
                    "md5:9e0f18e1259acf943e30690460d96123"),
               keras_file("inception_resnet_v2/inception_resnet_v2" + KERAS_ENDING,
                          "md5:e693bd0210a403b3192acc6073ad2e96", "inception", "inception", 299, .803, .953),
               application=KerasApplication("InceptionResNetV2"), auxiliary_head=True),
    _resnet(50, 23_508_032, 3.856, .769,
            caffe("resnet_v1_50_2016_08_28.tar.gz", .752, .922),
            keras_file("resnet/resnet50" + KERAS_ENDING, "md5:2cb95161c43110f7111970584f804107",
                       "caffe", "vgg", 224, .749, .921)),
    _resnet(101, 42_500_160, 7.568, .786,
            caffe("resnet_v1_101_2016_08_28.tar.gz", .764, .929),
            keras_file("resnet/resnet101" + KERAS_ENDING, "md5:f1aeb4b969a6efcfb50fad2f0c20cfc5",
                       "caffe", "vgg", 224, .764, .928)),
    _resnet(152, 58_143_808, 11.280, .793,
            caffe("resnet_v1_152_2016_08_28.tar.gz", .768, .932, None, "md5:98081f80332293357fb22a626345fcc7"),
            keras_file("resnet/resnet152" + KERAS_ENDING, "md5:100835be76be38e30d865e96f2aaae62",
                       "caffe", "vgg", 224, .766, .931)),
    _densenet(121, 1024, 6_953_856, 2.833, .756, "md5:9d60b8095a5708f2dcce2bca79d332c7", .750, .923),
    _densenet(169, 1664, 12_484_480, 3.358, .767, "md5:d699b8f76981ab1b30698df4c175e90b", .762, .932),
    _densenet(201, 1920, 18_092_928, 4.289, .771, "md5:1ceb130c1ea1b78c3bf6114dbdfd8807", .773, .936),
    _mobilenet("mobilenet_v1", "MobileNet v1", 1024, 3_206_976, .568, .9997, .001, .724,
               KerasApplication("MobileNet", "MobilenetV1"),
               slim("mobilenet_v1_2018_08_02/mobilenet_v1_1.0_224.tgz", 224, .709, .899, 94_321_559,
                    "sha256:2fadeabb9968ec6833bee903900dda6e61b3947200535874ce2fe42a8493abc0"),
               keras_file("mobilenet/mobilenet_1_0_224_tf.h5", None, "inception", "inception", 224, .704, .895)),
    _mobilenet("mobilenet_v2", "MobileNet v2", 1280, 2_223_872, .299, .997, .2, .716,
               KerasApplication("MobileNetV2", "MobilenetV2", {"alpha": 1.0}),
               slim("mobilenet_v2_1.0_224.tgz", 224, .719, .910, 78_306_834,
                    "sha256:318084bc1b63d6d7b854553e09cdf77078b1c0168be27c59a0d44253b5ed49dc", SLIM_MOBILENET_V2),
               keras_file("mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5", None,
                          "inception", "inception", 224, .713, .901)),
    _mobilenet("mobilenet_v2_14", "MobileNet v2 (1.4)", 1792, 4_315_776, .580, .997, .2, .747,
               KerasApplication("MobileNetV2", "MobilenetV2", {"alpha": 1.4}),
               slim("mobilenet_v2_1.4_224.tgz", 224, .749, .925, 135_977_516,
                    "sha384:fd257f73e8ee5280328903afa6bbd646dcf4e8ae7c090e3424cf05d973c0940f"
                    "e02ee220a3a5a20ea51cb9caacbf4961", SLIM_MOBILENET_V2),
               keras_file("mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.4_224.h5", None,
                          "inception", "inception", 224, .752, .924)),
    _nasnet("nasnet_mobile", "NASNet-A Mobile", "nasnet", 224, 1056, 4_232_978, .563, .735,
            slim("nasnet-a_mobile_04_10_2017.tar.gz", 224, .740, .916, None, "md5:7777886f3de3d733d3a6bf8b80e63555"),
            keras_file("nasnet/NASNet-mobile.h5", "md5:020fb642bf7360b370c678b08e0adf61",
                       "inception", "inception", 224, .744, .919), application=KerasApplication("NASNetMobile")),
    _nasnet("nasnet_large", "NASNet-A Large", "nasnet", 331, 4032, 84_720_150, 23.779, .808,
            slim("nasnet-a_large_04_10_2017.tar.gz", 331, .827, .962, None, "md5:5286bdbb29bab27c4d3431c70f8becf9"),
            keras_file("nasnet/NASNet-large.h5", "md5:11577c9a518f0070763c2b964a382f17",
                       "inception", "inception", 331, .825, .960), application=KerasApplication("NASNetLarge"),
            drop_path_keep=.7),
    _vgg(16, 134_260_544, 15.466,
         caffe("vgg_16_2016_08_28.tar.gz", .715, .898, 513_324_920),
         keras_file("vgg16/vgg16" + KERAS_ENDING, "md5:64373286793e3c8b2b4e3219cbf3544b",
                    "caffe", "vgg", 224, .713, .901)),
    _vgg(19, 139_570_240, 19.628,
         caffe("vgg_19_2016_08_28.tar.gz", .711, .898),
         keras_file("vgg19/vgg19" + KERAS_ENDING, "md5:cbe5617147190e668d6c5d5026f83318",
                    "caffe", "vgg", 224, .713, .900)),
    _resnet_v2(50, 23_519_360, 6.534,
               slim("resnet_v2_50_2017_04_14.tar.gz", 299, .756, .928),
               keras_file("resnet/resnet50v2" + KERAS_ENDING, "md5:3ef43a0b657b3be2300d5770ece849e0",
                          "inception", "inception", 224, .760, .930)),
    _resnet_v2(101, 42_528_896, 13.371,
               slim("resnet_v2_101_2017_04_14.tar.gz", 299, .770, .937),
               keras_file("resnet/resnet101v2" + KERAS_ENDING, "md5:6343647c601c52e1368623803854d971",
                          "inception", "inception", 224, .772, .938)),
    _resnet_v2(152, 58_187_904, 20.209,
               slim("resnet_v2_152_2017_04_14.tar.gz", 299, .778, .941),
               keras_file("resnet/resnet152v2" + KERAS_ENDING, "md5:a49b44d1979771252814e80f8ec446f9",
                          "inception", "inception", 224, .780, .942)),
    _nasnet("pnasnet_mobile", "PNASNet-5 Mobile", "pnasnet", 224, 1080, 3_983_487, .586, None,
            slim("pnasnet-5_mobile_2017_12_13.tar.gz", 224, .742, .919)),
    _nasnet("pnasnet_large", "PNASNet-5 Large", "pnasnet", 331, 4320, 81_736_668, 24.933, None,
            slim("pnasnet-5_large_2017_12_13.tar.gz", 331, .829, .962), drop_path_keep=.6),
)}

PAPER = tuple(name for name, network in NETWORKS.items() if network.retrained_top1 is not None)  # of the CVPR version
# The thirteen of the first version; which they were beside the Inceptions, ResNets and NASNet-A Large is assumed.
PAPER_V1 = ("vgg_16", "vgg_19", "inception_v1", "bn_inception", "inception_v3", "inception_v4", "inception_resnet_v2",
            "resnet_50", "resnet_101", "resnet_152", "mobilenet_v1", "nasnet_mobile", "nasnet_large")
GROUPS = {"paper": PAPER, "paper_v1": PAPER_V1}  # what --models of a study takes beside names
