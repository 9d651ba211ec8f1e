"""What a reader of the documents starts from: a clone of this project, and flags that make a study short."""

import pathlib

ROOT = pathlib.Path(__file__).parents[2]
PRETRAIN = "--steps=4 --learning_rate=0.02 --warmup_epochs=0 --ema=0"
SHORT_STUDY = ("--models=mini_vgg,mini_resnet,mini_mobilenet_v1 --datasets=digits --processes=1 '--pretrain_own=' "
               f"'--pretrain={PRETRAIN}' --logistic_regression=--l2=1,100 "
               "'--finetune=--steps=2 --learning_rate=0.01 --weight_decay=0' "
               "'--train_from_scratch=--steps=2 --learning_rate=0.01 --weight_decay=0'")


def make_clone(folder: pathlib.Path) -> pathlib.Path:
    """Makes `folder` a clone of this project, as far as programs need one."""
    folder.mkdir()
    for name in ("tfbench", "flags", "requirements.txt"):
        (folder / name).symlink_to(ROOT / name)
    return folder
