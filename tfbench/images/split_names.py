"""What people call the splits of a data set."""

import re

SPLITS = ("train", "validation", "test")
_SPELLINGS = {**dict.fromkeys(("train", "training", "trn", "trainval"), "train"),
              **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "devel", "development", "eval",
                               "evaluation"), "validation"),
              **dict.fromkeys(("test", "testing", "tst"), "test")}
_FILLERS = {"set", "data", "dataset", "split", "subset", "images", "image", "imgs", "img", "pictures", "photos",
            "folder"}


def split_named(name: str) -> str | None:
    """The split of SPLITS that a folder, a file's value or TFDS means by a name; None for none.

    Case, punctuation, a year and words such as "set" and "images" do not count: Train, training_set, val2017, TestSet.
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.sub(r"[\W_]+|(?<=\D)(?=(?:19|20)\d\d$)", " ", spaced).lower().split()
    words = [re.sub(r"(?<=.)(dataset|set|data|images)$", "", word) for word in words]
    words = [word for word in words if word not in _FILLERS and not re.fullmatch(r"(19|20)\d\d", word)]
    return _SPELLINGS.get(words[0]) if len(words) == 1 else None
