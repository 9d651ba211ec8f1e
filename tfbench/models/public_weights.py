"""PublicWeights: a published file of ImageNet weights. Each network's are in its row of the catalog (catalog.py).

Addresses and accuracies of TF-Slim's archives are those of its README. All lie in one public bucket, which is named
by its own host: the certificate of download.tensorflow.org is not in that name. Addresses and checksums of Keras's
files are those in Keras's source, accuracies those of keras.io/api/applications, for images of the class's default
size (MobileNet v2 at 1.4: README of keras-applications; MobileNet v3: Keras's docstring). Keras publishes no top-5
accuracy of MobileNet v3 and ConvNeXt.

Licences of Keras's weights are those that its documentation named until version 2.3; of later networks, those of the
repositories from which the weights were ported (tensorflow/models, tensorflow/tpu, google/automl,
facebookresearch/ConvNeXt). TF-Slim's repository, tensorflow/models, is under Apache 2.0.

TF-Slim published no checksums. Those in the catalog were found in public repositories:
  inception_v1, bn_inception, mobilenet_v1, mobilenet_v2, mobilenet_v2_14: size and SHA-256 or SHA-384 in
    models/public/*/model.yml of openvinotoolkit/open_model_zoo (mobilenet_v1's in TensorFlow's workspace too);
  inception_resnet_v2: MD5 in a port to Keras that downloads this archive (keras-inception-resnet-v2, two copies);
  resnet_152: MD5 in a program that checks the archive against the one the bucket told;
  nasnet_mobile, nasnet_large: MD5 in a port to Keras that downloads these archives (NASNet-keras);
  vgg_16: size only, in printed outputs of TF-Slim's downloader (four copies).
Where `checksum` is None none was found: files/downloads.py says what is checked then.
"""

import dataclasses
import re

SLIM = "https://storage.googleapis.com/download.tensorflow.org/models/"
SLIM_MOBILENET_V2 = "https://storage.googleapis.com/mobilenet_v2/checkpoints/"
KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/"
KERAS_EFFICIENTNET = "https://storage.googleapis.com/keras-applications/"  # where EfficientNet B0 to B7 lie
KERAS_ENDING = "_weights_tf_dim_ordering_tf_kernels.h5"

APACHE, CREATIVE_COMMONS, MIT = "Apache 2.0", "CC BY 4.0", "MIT"
LICENCES = {  # how a file is called -> licence of its weights; all others are under APACHE
    r"vgg": CREATIVE_COMMONS,  # Oxford's
    r"resnet_v1|resnet/resnet\d+_": MIT,  # Kaiming He's
    r"resnet/resnet\d+v2_": "BSD",  # Facebook's
    r"densenet": "BSD 3-Clause",
    r"xception|convnext": MIT,
}


def _licence(file: str) -> str:
    return next((licence for pattern, licence in LICENCES.items() if re.match(pattern, file)), APACHE)


@dataclasses.dataclass(frozen=True)
class PublicWeights:
    """One public file.

    Attributes:
      source: "slim" (an archive with a TensorFlow checkpoint) or "keras" (an .h5 file with classifier).
      url: where it is.
      size: in bytes, or None if unknown.
      checksum: "md5:", "sha256:" or "sha384:" and the digest in hex; None if unknown.
      classes: width of its classifier: 1001 with the background at index 0, or 1000.
      value_range: of the images it takes, one of catalog.VALUE_RANGES.
      geometry: how the published accuracy was measured, see imagenet.central_part ("inception") and
        imagenet.central_square ("vgg"). Keras says no more than "single center crop"; its files have the original's, or
        what is nearest: EfficientNet's crops leave 32 pixels, EfficientNetV2's none.
      eval_size: side of the images in pixels in that measurement, and in transfer (RunConfig.spec).
      top1, top5: the published accuracy on the 50,000 validation images, in [0, 1], or None.
      licence: of the weights, in a few words.
    """

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
    licence: str = ""

    @property
    def crop(self) -> str:
        """`geometry` in records' words: "central", 87.5 % of the sides (search.CROPS), or "central_square", 87.5 % of
        the shorter one."""
        return "central" if self.geometry == "inception" else "central_square"


def slim(file: str, eval_size: int, top1: float, top5: float, size: int | None = None, checksum: str | None = None,
         base: str = SLIM) -> PublicWeights:
    """An archive of TF-Slim's own training: with background, images in [-1, 1]."""
    return PublicWeights("slim", base + file, size, checksum, 1001, "inception", "inception", eval_size, top1, top5,
                         _licence(file))


def caffe(file: str, top1: float, top5: float, size: int | None = None, checksum: str | None = None) -> PublicWeights:
    """An archive of weights that TF-Slim took over from Caffe: without background, RGB minus mean."""
    return PublicWeights("slim", SLIM + file, size, checksum, 1000, "rgb_mean", "vgg", 224, top1, top5, _licence(file))


def keras_file(file: str, checksum: str | None, value_range: str, geometry: str, eval_size: int,
               top1: float | None, top5: float | None, base: str = KERAS) -> PublicWeights:
    """A file of Keras Applications, with classifier."""
    return PublicWeights("keras", base + file, None, checksum, 1000, value_range, geometry, eval_size, top1, top5,
                         _licence(file))
