"""NETWORKS: one row per network. To add another one that Keras Applications builds, add a row:

    _keras("keras_mobilenet_v1_050", "MobileNet v1 (0.5, Keras)", "MobileNet", 224, 32, 512, 818_592, .149,
           keras_file("mobilenet/mobilenet_5_0_224_tf.h5", None, "inception", "inception", 224, None, None),
           dropout=.001, arguments={"alpha": .5}),

Such a row is all that there is to it: families/untouched.py builds what Keras defines. A network that Keras lacks, or
that must be another function than Keras's, needs a module in families/ too.

The first sixteen are those of the CVPR version, then come further candidates of the first. Parameters, widths and
sizes were computed from the original definitions (TF-Slim; DenseNet: torchvision). They equal the paper's table of
networks after rounding. `retrained_top1` is that table's, of the paper's own training, which its figures use.

Then come the forty classes of Keras Applications, each taken as it is, with Keras's weights. Seventeen are of
networks of the first two parts, whose rows are the original's function, for either public weights: their names begin
with "keras_". So resnet_50 is TF-Slim's function and keras_resnet_50 Keras's. No pattern that begins like an older
name ("mobilenet_*") matches a name of the forty. EfficientNet, EfficientNetV2, MobileNet v3 and ConvNeXt scale images
themselves. ConvNeXt-B, -L and -XL were trained on ImageNet-21k before ImageNet.

The group `miniature` is ours: families/miniature.py. It has no public weights; a study pretrains it.

Multiply-adds are those of the networks as they are built here. This module imports no TensorFlow: programs check
names here.
"""

import dataclasses

from tfbench.models.public_weights import (
    KERAS_EFFICIENTNET,
    KERAS_ENDING,
    SLIM_MOBILENET_V2,
    PublicWeights,
    caffe,
    keras_file,
    slim,
)

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
      fixed_size: whether it can be built for `image_size` only.
      feature_width: number of penultimate activations, the input of the classifier.
      parameters: trainable parameters without the logits layer, with the original's batch norm.
      multiply_adds: 10^9 multiply-adds of one image at `image_size`, without the logits layer.
      value_range: of the network trained from random weights, that of its original, one of VALUE_RANGES; "pixels" for
        one that scales them itself. With pretrained weights their metadata says it.
      bn_scale, bn_epsilon, bn_momentum: the original's batch norm; an untouched network has its own.
      dropout: fraction of the features that the original dropped before its logits.
      retrained_top1: ImageNet top-1 accuracy of the paper's training in [0, 1], or None.
      keras_application: None for a network that Keras Applications lacks.
      weights: its public ImageNet weights; the first are taken unless told otherwise.
      auxiliary_head: whether the original has an auxiliary classifier that is built here.
      drop_path_keep: keep probability of the original's drop path in the last cell at the end of training, of an
        untouched network all the time; 1: none.
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
    fixed_size: bool = False
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
    def has_original(self) -> bool:
        """Whether it is the function of a network that was defined elsewhere, and built anew here."""
        return self.builder not in ("untouched", "miniature")

    @property
    def public_top1(self) -> float | None:
        """Published ImageNet top-1 accuracy in [0, 1] of the public weights that are taken unless told otherwise:
        TF-Slim's, as in the paper's table, else Keras's; None without any."""
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


def _keras(name, title, application, size, minimum, width, parameters, multiply_adds, weights, *, dropout=0.,
           drop_path_keep=1., fixed_size=False, arguments=None):
    return Network(name, title, "keras", "untouched", size, minimum, width, parameters, multiply_adds,
                   weights.value_range, dropout=dropout, drop_path_keep=drop_path_keep, fixed_size=fixed_size,
                   keras_application=KerasApplication(application, arguments=arguments or {}), weights=(weights,))


def _mobilenetv3(size, width, parameters, multiply_adds, checksum, top1):
    file = keras_file(f"mobilenet_v3/weights_mobilenet_v3_{size.lower()}_224_1.0_float.h5", checksum, "pixels",
                      "inception", 224, top1, None)
    return _keras(f"mobilenetv3_{size.lower()}", f"MobileNet v3 {size}", f"MobileNetV3{size}", 224, 32, width,
                  parameters, multiply_adds, file, dropout=.2)


def _efficientnet(number, size, width, parameters, multiply_adds, dropout, checksum, top1, top5):
    file = keras_file(f"efficientnetb{number}.h5", checksum, "pixels", "vgg", size, top1, top5, KERAS_EFFICIENTNET)
    return _keras(f"efficientnet_b{number}", f"EfficientNet-B{number}", f"EfficientNetB{number}", size, 32, width,
                  parameters, multiply_adds, file, dropout=dropout, drop_path_keep=.8)


def _efficientnetv2(version, size, width, parameters, multiply_adds, checksum, top1, top5):
    file = keras_file(f"efficientnet_v2/efficientnetv2-{version.lower()}.h5", checksum, "pixels", "vgg", size, top1,
                      top5)
    return _keras(f"efficientnetv2_{version.lower()}", f"EfficientNetV2-{version}", f"EfficientNetV2{version}", size,
                  32, width, parameters, multiply_adds, file, dropout=.2, drop_path_keep=.8)


def _convnext(size, letters, width, parameters, multiply_adds, checksum, top1):
    file = keras_file(f"convnext/convnext_{size.lower()}.h5", checksum, "pixels", "vgg", 224, top1, None)
    return _keras(f"convnext_{size.lower()}", f"ConvNeXt-{letters}", f"ConvNeXt{size}", 224, 32, width, parameters,
                  multiply_adds, file)


def _mini(name, title, family, parameters, multiply_adds):
    """A network of families/miniature.py, without public weights: a study pretrains it."""
    return Network(name, title, family, "miniature", 32, 32, 96, parameters, multiply_adds, "inception", dropout=.2)


def _twin(network, size, minimum, parameters, multiply_adds, *, dropout=0., fixed_size=False):
    """Keras's own network, with its weights, of a network that the catalog has in the original's function."""
    file = next(weights for weights in network.weights if weights.source == "keras")
    return _keras(f"keras_{network.name}", f"{network.title} (Keras)", network.keras_application.name, size, minimum,
                  network.feature_width, parameters, multiply_adds, file, dropout=dropout, fixed_size=fixed_size,
                  arguments=network.keras_application.arguments)


CUSTOM_FEATURES = "features"  # in place of a network's name, in rows of custom features

_ORIGINALS = {network.name: network for network in (
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

_KERAS = (  # the classes of Keras Applications, in the order of its documentation
    _keras("xception", "Xception", "Xception", 299, 71, 2048, 20_806_952, 8.355,
           keras_file("xception/xception" + KERAS_ENDING, "md5:0a58e3b7378bc2990ea3b43d5981f1f6", "inception",
                      "inception", 299, .790, .945)),
    _twin(_ORIGINALS["vgg_16"], 224, 224, 134_260_544, 15.466, fixed_size=True),
    _twin(_ORIGINALS["vgg_19"], 224, 224, 139_570_240, 19.628, fixed_size=True),
    _twin(_ORIGINALS["resnet_50"], 224, 32, 23_534_592, 3.856),
    _twin(_ORIGINALS["resnet_101"], 224, 32, 42_552_832, 7.568),
    _twin(_ORIGINALS["resnet_152"], 224, 32, 58_219_520, 11.280),
    _twin(_ORIGINALS["resnet_v2_50"], 224, 32, 23_519_360, 3.480),
    _twin(_ORIGINALS["resnet_v2_101"], 224, 32, 42_528_896, 7.192),
    _twin(_ORIGINALS["resnet_v2_152"], 224, 32, 58_187_904, 10.905),
    _twin(_ORIGINALS["inception_v3"], 299, 75, 21_768_352, 5.711),
    _twin(_ORIGINALS["inception_resnet_v2"], 299, 75, 54_276_192, 13.154),
    _twin(_ORIGINALS["mobilenet_v1"], 224, 32, 3_206_976, .568, dropout=.001),
    _twin(_ORIGINALS["mobilenet_v2"], 224, 32, 2_223_872, .299),
    _twin(_ORIGINALS["densenet_121"], 224, 32, 6_953_856, 2.833),
    _twin(_ORIGINALS["densenet_169"], 224, 32, 12_484_480, 3.358),
    _twin(_ORIGINALS["densenet_201"], 224, 32, 18_092_928, 4.289),
    _twin(_ORIGINALS["nasnet_mobile"], 224, 32, 4_232_978, .563),
    _twin(_ORIGINALS["nasnet_large"], 331, 32, 84_720_150, 23.779),
    _mobilenetv3("Small", 1024, 1_517_856, .055, "md5:8768d4c2e7dee89b9d02b2d03d65d862", .681),
    _mobilenetv3("Large", 1280, 4_202_032, .215, "md5:59e551e166be033d707958cf9e29a6a7", .756),
    _efficientnet(0, 224, 1280, 4_007_548, .385, .2, "md5:902e53a9f72be733fc0bcb005b3ebbac", .771, .933),
    _efficientnet(1, 240, 1280, 6_513_184, .686, .2, "md5:1d254153d4ab51201f1646940f018540", .791, .944),
    _efficientnet(2, 260, 1408, 7_700_994, .992, .3, "md5:b15cce36ff4dcbd00b6dd88e7857a6ad", .801, .949),
    _efficientnet(3, 300, 1536, 10_696_232, 1.826, .3, "md5:ffd1fdc53d0ce67064dc6a9c7960ede0", .816, .957),
    _efficientnet(4, 380, 1792, 17_548_616, 4.392, .4, "md5:18c95ad55216b8f92d7e70b3a046e2fc", .829, .964),
    _efficientnet(5, 456, 2048, 28_340_784, 10.264, .4, "md5:ace28f2a6363774853a83a0b21b9421a", .836, .967),
    _efficientnet(6, 528, 2304, 40_735_704, 19.065, .5, "md5:165f6e37dce68623721b423839de8be5", .840, .968),
    _efficientnet(7, 600, 2560, 63_786_960, 37.743, .5, "md5:8c03f828fec3ef71311cd463b6759d99", .843, .970),
    _efficientnetv2("B0", 224, 1280, 5_858_704, .717, "md5:21ecbf6da12460d5c40bb2f29ceb2188", .787, .943),
    _efficientnetv2("B1", 240, 1280, 6_860_052, 1.196, "md5:069f0534ff22adf035c89e2d9547a9dc", .798, .950),
    _efficientnetv2("B2", 260, 1408, 8_687_086, 1.696, "md5:424e49f28180edbde1e94797771950a7", .805, .951),
    _efficientnetv2("B3", 300, 1536, 12_821_406, 3.010, "md5:1f1fc43bd98a6e4fd8fdfd551e02c7a0", .820, .958),
    _efficientnetv2("S", 384, 1280, 20_177_488, 8.364, "md5:e1d88a8495beba45748fedd0cecbe016", .839, .967),
    _efficientnetv2("M", 480, 1280, 52_858_356, 24.581, "md5:a3bf6aa3276309f4fc6a34aa114c95cd", .853, .974),
    _efficientnetv2("L", 480, 1280, 117_234_272, 56.078, "md5:27e6d408b53c7ebc868fefa357689935", .857, .975),
    _convnext("Tiny", "T", 768, 27_820_128, 4.455,
              "sha256:8ae6e78ce2933352b1ef4008e6dd2f17bc40771563877d156bc6426c7cf503ff", .813),
    _convnext("Small", "S", 768, 49_454_688, 8.683,
              "sha256:ce1277d8f1ee5a0ef0e171469089c18f5233860ceaf9b168049cb9263fd7483c", .823),
    _convnext("Base", "B", 1024, 87_566_464, 15.354,
              "sha256:52cbb006d3dadd03f6e095a8ca1aca47aecdd75acb4bc74bce1f5c695d0086e6", .853),
    _convnext("Large", "L", 1536, 196_230_336, 34.360,
              "sha256:070c5ed9ed289581e477741d3b34beffa920db8cf590899d6d2c67fba2a198a6", .863),
    _convnext("XLarge", "XL", 2048, 348_147_968, 60.919,
              "sha256:c1f5ccab661354fc3a79a10fa99af82f0fbf10ec65cb894a3ae0815f17a889ee", .867),
)

_MINIATURE = (  # one or more of a family, all of 96 features
    _mini("mini_vgg", "mini VGG", "vgg", 56_096, .0023),
    _mini("mini_inception_v1", "mini Inception v1", "inception", 22_936, .0015),
    _mini("mini_bn_inception", "mini BN-Inception", "inception", 49_096, .0015),
    _mini("mini_inception_resnet", "mini Inception-ResNet", "inception", 34_928, .0023),
    _mini("mini_resnet", "mini ResNet", "resnet_v1", 27_632, .0014),
    _mini("mini_mobilenet_v1", "mini MobileNet v1", "mobilenet", 24_432, .0009),
    _mini("mini_mobilenet_v2", "mini MobileNet v2", "mobilenet", 36_272, .0014),
    _mini("mini_densenet", "mini DenseNet", "densenet", 44_168, .0023),
)

NETWORKS = _ORIGINALS | {network.name: network for network in (*_KERAS, *_MINIATURE)}

PAPER = tuple(name for name, network in NETWORKS.items() if network.retrained_top1 is not None)  # of the CVPR version
# The thirteen of the first version; which they were beside the Inceptions, ResNets and NASNet-A Large is assumed.
PAPER_V1 = ("vgg_16", "vgg_19", "inception_v1", "bn_inception", "inception_v3", "inception_v4", "inception_resnet_v2",
            "resnet_50", "resnet_101", "resnet_152", "mobilenet_v1", "nasnet_mobile", "nasnet_large")
GROUPS = {  # what lists of networks take beside names
    "paper": PAPER, "paper_v1": PAPER_V1,
    "keras": tuple(network.name for network in _KERAS),
    # Ten for a laptop, by the multiply-adds of an image; each has Keras's weights, of 10 to 110 MB.
    "small": ("mobilenetv3_small", "mobilenetv3_large", "keras_mobilenet_v2", "efficientnet_b0", "efficientnetv2_b0",
              "efficientnetv2_b2", "keras_densenet_121", "keras_resnet_50", "convnext_tiny", "efficientnetv2_s"),
    # Published after 2018: Howard et al. 2019, Tan & Le 2019 and 2021, Liu et al. 2022.
    "modern": tuple(network.name for network in _KERAS if network.name.startswith(
        ("mobilenetv3", "efficientnet", "convnext"))),
    "miniature": tuple(network.name for network in _MINIATURE),
}
