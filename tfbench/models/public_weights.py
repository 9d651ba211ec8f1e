"""CHECKPOINTS: the public ImageNet weights of each network, one row per network and source.

Addresses and accuracies of TF-Slim's archives are those of its README; all lie in one public bucket, which is
named here by its own host because the metadata of download.tensorflow.org is not in that name. Addresses
and checksums of Keras's files are those in Keras's source, accuracies those of keras.io/api/applications
(MobileNet v2 at 1.4: README of keras-applications). This module imports no TensorFlow.

TF-Slim published no checksums. Those here were found in public repositories:
  inception_v1, bn_inception, mobilenet_v1, mobilenet_v2, mobilenet_v2_14: size and SHA-256 or SHA-384 in
    models/public/*/model.yml of openvinotoolkit/open_model_zoo (mobilenet_v1's in TensorFlow's workspace too);
  inception_resnet_v2: MD5 in a port to Keras that downloads this archive (keras-inception-resnet-v2, two copies);
  resnet_152: MD5 in a program that checks the archive against the one the bucket told;
  nasnet_mobile, nasnet_large: MD5 in a port to Keras that downloads these archives (NASNet-keras);
  vgg_16: size only, in printed outputs of TF-Slim's downloader (four copies).
Where `checksum` is None none was found: see fetch.download for what is checked then.
"""

import dataclasses

from tfbench.errors import UserError
from tfbench.models.catalog import NETWORKS

SLIM = "https://storage.googleapis.com/download.tensorflow.org/models/"
SLIM_MOBILENET_V2 = "https://storage.googleapis.com/mobilenet_v2/checkpoints/"
KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/"
KERAS_ENDING = "_weights_tf_dim_ordering_tf_kernels.h5"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """One public file.

    Attributes:
      network: a key of NETWORKS.
      source: "slim" (an archive with a TensorFlow checkpoint) or "keras" (an .h5 file with classifier).
      url: where it is.
      size: in bytes, or None if unknown.
      checksum: "md5:", "sha256:" or "sha384:" and the digest in hex; None if unknown.
      classes: width of its classifier: 1001 with the background at index 0, or 1000.
      value_range: of the images it takes, see data/pipeline.to_value_range.
      geometry: how the published accuracy was measured, see imagenet.central_part ("inception") and
        imagenet.central_square ("vgg"). Keras says no more than "single center crop"; its rows have the
        original's.
      eval_size: side of the images in pixels in that measurement.
      top1, top5: the published accuracy on the 50,000 validation images, in [0, 1], or None.
    """

    network: str
    source: str
    url: str
    size: int | None
    checksum: str | None
    classes: int
    value_range: str
    geometry: str
    eval_size: int
    top1: float | None
    top5: float | None


def _inception(network, file, eval_size, top1, top5, size=None, checksum=None, base=SLIM):
    """An archive of TF-Slim's own training: with background, images in [-1, 1]."""
    return Checkpoint(network, "slim", base + file, size, checksum, 1001, "inception", "inception", eval_size, top1,
                      top5)


def _caffe(network, file, top1, top5, size=None, checksum=None):
    """An archive of weights that TF-Slim took over from Caffe: without background, RGB minus mean."""
    return Checkpoint(network, "slim", SLIM + file, size, checksum, 1000, "rgb_mean", "vgg", 224, top1, top5)


def _keras(network, file, checksum, value_range, geometry, eval_size, top1, top5):
    """A file of Keras Applications."""
    return Checkpoint(network, "keras", KERAS + file, None, checksum, 1000, value_range, geometry, eval_size, top1,
                      top5)


_SLIM_ROWS = (
    _inception("inception_v1", "inception_v1_2016_08_28.tar.gz", 224, .698, .896, 24_642_554,
               "sha256:7a620c430fcaba8f8f716241f5148c4c47c035cce4e49ef02cfbe6cd1adf96a6"),
    _inception("bn_inception", "inception_v2_2016_08_28.tar.gz", 224, .739, .918, 41_577_079,
               "sha384:c0b2efbae8fc5e237ae67637dca3f311d4b4f7da576b56067e83d95c398a2fcc"
               "d50baff9cc0de64335f4d7b78e1adb07"),
    _inception("inception_v3", "inception_v3_2016_08_28.tar.gz", 299, .780, .939),
    _inception("inception_v4", "inception_v4_2016_09_09.tar.gz", 299, .802, .952),
    _inception("inception_resnet_v2", "inception_resnet_v2_2016_08_30.tar.gz", 299, .804, .953, None,
               "md5:9e0f18e1259acf943e30690460d96123"),
    _caffe("resnet_50", "resnet_v1_50_2016_08_28.tar.gz", .752, .922),
    _caffe("resnet_101", "resnet_v1_101_2016_08_28.tar.gz", .764, .929),
    _caffe("resnet_152", "resnet_v1_152_2016_08_28.tar.gz", .768, .932, None,
           "md5:98081f80332293357fb22a626345fcc7"),
    _inception("mobilenet_v1", "mobilenet_v1_2018_08_02/mobilenet_v1_1.0_224.tgz", 224, .709, .899, 94_321_559,
               "sha256:2fadeabb9968ec6833bee903900dda6e61b3947200535874ce2fe42a8493abc0"),
    _inception("mobilenet_v2", "mobilenet_v2_1.0_224.tgz", 224, .719, .910, 78_306_834,
               "sha256:318084bc1b63d6d7b854553e09cdf77078b1c0168be27c59a0d44253b5ed49dc", SLIM_MOBILENET_V2),
    _inception("mobilenet_v2_14", "mobilenet_v2_1.4_224.tgz", 224, .749, .925, 135_977_516,
               "sha384:fd257f73e8ee5280328903afa6bbd646dcf4e8ae7c090e3424cf05d973c0940f"
               "e02ee220a3a5a20ea51cb9caacbf4961", SLIM_MOBILENET_V2),
    _inception("nasnet_mobile", "nasnet-a_mobile_04_10_2017.tar.gz", 224, .740, .916, None,
               "md5:7777886f3de3d733d3a6bf8b80e63555"),
    _inception("nasnet_large", "nasnet-a_large_04_10_2017.tar.gz", 331, .827, .962, None,
               "md5:5286bdbb29bab27c4d3431c70f8becf9"),
    _caffe("vgg_16", "vgg_16_2016_08_28.tar.gz", .715, .898, 513_324_920),
    _caffe("vgg_19", "vgg_19_2016_08_28.tar.gz", .711, .898),
    _inception("resnet_v2_50", "resnet_v2_50_2017_04_14.tar.gz", 299, .756, .928),
    _inception("resnet_v2_101", "resnet_v2_101_2017_04_14.tar.gz", 299, .770, .937),
    _inception("resnet_v2_152", "resnet_v2_152_2017_04_14.tar.gz", 299, .778, .941),
    _inception("pnasnet_mobile", "pnasnet-5_mobile_2017_12_13.tar.gz", 224, .742, .919),
    _inception("pnasnet_large", "pnasnet-5_large_2017_12_13.tar.gz", 331, .829, .962),
)

_KERAS_ROWS = (
    _keras("inception_v3", "inception_v3/inception_v3" + KERAS_ENDING, "md5:9a0d58056eeedaa3f26cb7ebd46da564",
           "inception", "inception", 299, .779, .937),
    _keras("inception_resnet_v2", "inception_resnet_v2/inception_resnet_v2" + KERAS_ENDING,
           "md5:e693bd0210a403b3192acc6073ad2e96", "inception", "inception", 299, .803, .953),
    _keras("resnet_50", "resnet/resnet50" + KERAS_ENDING, "md5:2cb95161c43110f7111970584f804107",
           "caffe", "vgg", 224, .749, .921),
    _keras("resnet_101", "resnet/resnet101" + KERAS_ENDING, "md5:f1aeb4b969a6efcfb50fad2f0c20cfc5",
           "caffe", "vgg", 224, .764, .928),
    _keras("resnet_152", "resnet/resnet152" + KERAS_ENDING, "md5:100835be76be38e30d865e96f2aaae62",
           "caffe", "vgg", 224, .766, .931),
    _keras("densenet_121", "densenet/densenet121" + KERAS_ENDING, "md5:9d60b8095a5708f2dcce2bca79d332c7",
           "torch", "vgg", 224, .750, .923),
    _keras("densenet_169", "densenet/densenet169" + KERAS_ENDING, "md5:d699b8f76981ab1b30698df4c175e90b",
           "torch", "vgg", 224, .762, .932),
    _keras("densenet_201", "densenet/densenet201" + KERAS_ENDING, "md5:1ceb130c1ea1b78c3bf6114dbdfd8807",
           "torch", "vgg", 224, .773, .936),
    _keras("mobilenet_v1", "mobilenet/mobilenet_1_0_224_tf.h5", None, "inception", "inception", 224, .704, .895),
    _keras("mobilenet_v2", "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5", None,
           "inception", "inception", 224, .713, .901),
    _keras("mobilenet_v2_14", "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.4_224.h5", None,
           "inception", "inception", 224, .752, .924),
    _keras("nasnet_mobile", "nasnet/NASNet-mobile.h5", "md5:020fb642bf7360b370c678b08e0adf61",
           "inception", "inception", 224, .744, .919),
    _keras("nasnet_large", "nasnet/NASNet-large.h5", "md5:11577c9a518f0070763c2b964a382f17",
           "inception", "inception", 331, .825, .960),
    _keras("vgg_16", "vgg16/vgg16" + KERAS_ENDING, "md5:64373286793e3c8b2b4e3219cbf3544b",
           "caffe", "vgg", 224, .713, .901),
    _keras("vgg_19", "vgg19/vgg19" + KERAS_ENDING, "md5:cbe5617147190e668d6c5d5026f83318",
           "caffe", "vgg", 224, .713, .900),
    _keras("resnet_v2_50", "resnet/resnet50v2" + KERAS_ENDING, "md5:3ef43a0b657b3be2300d5770ece849e0",
           "inception", "inception", 224, .760, .930),
    _keras("resnet_v2_101", "resnet/resnet101v2" + KERAS_ENDING, "md5:6343647c601c52e1368623803854d971",
           "inception", "inception", 224, .772, .938),
    _keras("resnet_v2_152", "resnet/resnet152v2" + KERAS_ENDING, "md5:a49b44d1979771252814e80f8ec446f9",
           "inception", "inception", 224, .780, .942),
)

CHECKPOINTS = {(row.network, row.source): row for row in _SLIM_ROWS + _KERAS_ROWS}


def checkpoint(network_name: str, source: str | None = None) -> Checkpoint:
    """The public weights of a network.

    Args:
      network_name: a key of NETWORKS.
      source: "slim" or "keras"; None: TF-Slim's where there is one, else Keras's (DenseNets).

    Raises:
      UserError: there is none; its text names those that exist.
    """
    found = {row.source: row for row in CHECKPOINTS.values() if row.network == network_name}
    row = next(iter(found.values()), None) if source is None else found.get(source)
    if row:
        return row
    if found:
        raise UserError(f"{network_name} has no public weights from {source!r}, only from {', '.join(found)}: choose "
                        f"another --source, or leave it out")
    with_some = ", ".join(name for name in NETWORKS if any(row.network == name for row in CHECKPOINTS.values()))
    raise UserError(f"there are no public weights of {network_name!r}, only of {with_some}: choose one of them")
