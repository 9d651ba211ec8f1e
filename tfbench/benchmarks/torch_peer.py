"""PyTorch with timm beside TensorFlow, in a process of its own: the two runtimes do not bear one.

The parent starts this file by its path, with an interpreter that has torch and timm and need not have tfbench. The
child builds the network, says what it is in a line of JSON, then computes one loop for each line that it reads and
answers with the seconds of the processor that it took so far. So the rounds of both can take turns.
"""

import json
import pathlib
import subprocess
import sys
import time
from typing import Any

# Networks of the catalog that timm has: the same layers. Parameters without the classifier are equal, but for the
# scales of Inception's batch norms, which TF-Slim leaves out.
TIMM = {"mobilenet_v1": "mobilenetv1_100", "mobilenet_v2": "mobilenetv2_100", "resnet_50": "resnet50",
        "resnet_101": "resnet101", "resnet_152": "resnet152", "densenet_121": "densenet121",
        "densenet_169": "densenet169", "densenet_201": "densenet201", "inception_v3": "inception_v3",
        "inception_v4": "inception_v4", "inception_resnet_v2": "inception_resnet_v2", "nasnet_large": "nasnetalarge"}
PRECISIONS = ("float32", "mixed_bfloat16", "bfloat16")  # on a CPU


class TorchPeer:
    """A running child. Calling it lets the child compute its loop once and waits until it is done.

    Attributes:
      says: dict of the child's first line: "torch" and "timm" (versions), "threads", "parameters" without the
        classifier; or "missing", why there is nothing to compare with.
      processor_seconds: that all threads of the child have computed until the end of the last loop.
    """

    def __init__(self, python: str | None, network: str, **work):
        """Starts `python` (None: this interpreter). `work` are the arguments of `loop` but for the network."""
        self.process: Any = None
        self.processor_seconds = 0.0
        self.says = {"missing": f"timm does not have {network} in {work['precision']}"}
        if network not in TIMM or work["precision"] not in PRECISIONS:
            return
        command = [python or sys.executable, str(pathlib.Path(__file__).resolve()), json.dumps(
            {"network": TIMM[network], **work})]
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        except OSError as error:
            self.says = {"missing": f"{command[0]} does not start: {error.strerror}"}
            return
        self.says = json.loads(self.process.stdout.readline() or '{"missing": "PyTorch ended before it began"}')
        if "missing" in self.says:
            self.close()

    def __call__(self) -> None:
        self.process.stdin.write("loop\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"PyTorch ended in the middle of a loop, with code {self.process.wait()}: what it said "
                               "stands above")
        self.processor_seconds = float(line)

    @property
    def loops(self) -> dict:
        """{"PyTorch + timm": the call}, or {} where there is none."""
        return {"PyTorch + timm": self} if self.process else {}

    def lines(self) -> list[str]:
        """What was compared with, in a line of text."""
        if "missing" in self.says:
            return [f"  without PyTorch: {self.says['missing']}"]
        return [f"  PyTorch {self.says['torch']}, timm {self.says['timm']}: {self.says['parameters']:,} parameters "
                f"without the classifier, {self.says['threads']} threads"]

    def close(self) -> None:
        if self.process:
            self.process.stdin.close()
            self.process.wait()
            self.process.stdout.close()
            self.process = None


def loop(network: str, train: bool, batch_size: int, image_size: int, steps: int, precision: str, classes: int,
         learning_rate: float, momentum: float, l2: float):
    """A loop of `steps` training steps, or of `steps` batches to features, on one batch in memory.

    Convolutions run in PyTorch's channels-last layout, the faster one on a CPU. In bfloat16 they run by autocast.

    Returns:
      (the loop, parameters of the network without its classifier).
    """
    import timm
    import torch

    parameters = sum(weights.numel() for weights in timm.create_model(network, num_classes=0).parameters())
    model = timm.create_model(network, num_classes=classes if train else 0).to(memory_format=torch.channels_last)
    images = torch.rand(batch_size, 3, image_size, image_size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, classes, (batch_size,))
    optimizer = torch.optim.SGD(model.parameters(), learning_rate, momentum=momentum, nesterov=train, weight_decay=l2)
    reduced = torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision != "float32")

    def training():
        model.train()
        for _ in range(steps):
            optimizer.zero_grad()
            with reduced:
                logits = model(images)
            torch.nn.functional.cross_entropy(logits.float(), labels).backward()
            optimizer.step()

    def inference():
        model.eval()
        with torch.inference_mode(), reduced:
            for _ in range(steps):
                model(images)

    return (training if train else inference), parameters


def answer(line: str) -> None:
    """Says a line to the parent."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(work: dict) -> None:
    try:
        import timm
        import torch
    except Exception as error:  # an installation that does not load fails in many ways
        answer(json.dumps({"missing": f"{sys.executable} cannot import torch and timm ({error})"}))
        return
    run, parameters = loop(**work)
    answer(json.dumps({"torch": torch.__version__, "timm": timm.__version__, "parameters": parameters,
                       "threads": torch.get_num_threads()}))
    for _ in sys.stdin:
        run()
        answer(str(time.process_time()))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
