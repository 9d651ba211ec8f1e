"""study --prepare: what a study lacks is fetched first; flags/first_result.flags to its report."""

import dataclasses
import functools
import http.server
import pathlib
import tarfile
import threading
import types

import pytest
from helpers import archives
from helpers.programs import parse
from models.test_convert import training_checkpoint, write

from tfbench import UserError, prepare_data, prepare_models, study
from tfbench.data.catalog import DATASETS
from tfbench.files import atomic
from tfbench.models.catalog import GROUPS, NETWORKS
from tfbench.results import store
from tfbench.sweep import jobs, lacking

ROOT = pathlib.Path(__file__).parents[2]


def test_preparing_is_asked_once_with_sizes(tmp_path, data_dir, capsys, monkeypatch):
    arguments = ["--models=mobilenet_v1,inception_v1", "--datasets=pets,cars", "--source=imagenet",
                 "--regimes=logistic_regression", f"--logistic_regression=--weights_dir={tmp_path}/w", "--prepare",
                 f"--data_dir={tmp_path}/data", f"--results_dir={tmp_path}/r"]
    with pytest.raises(UserError, match="nobody is there to confirm the plan: add --yes"):
        study.main(parse(study, arguments))
    asked, prepared = [], []
    monkeypatch.setattr(study.sys, "stdin", types.SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "n")
    assert study.main(parse(study, arguments)) == 1
    assert asked == ["Fetch about 930.1 MB and start? [Y/n] "]  # without the cars, which nobody can fetch
    assert "by hand         cars, 2.0 GB: cars_train.tgz, " in capsys.readouterr().out
    for program in (prepare_data, prepare_models):
        monkeypatch.setattr(program, "prepare_all", lambda options: prepared.append(
            getattr(options, "model", None) or options.dataset) or {})
    monkeypatch.setattr(study.executors, "run", lambda options, runs: 1)
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "")
    assert study.main(parse(study, arguments)) == 1
    assert len(asked) == 2 and prepared == [("pets",), ("mobilenet_v1", "inception_v1")]
    assert not list(tmp_path.iterdir())


def test_a_folder_of_one_class_is_refused_in_a_line(tmp_path, capsys):
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "photos" / "cats" / f"{number}.jpg").write_bytes(archives.picture(0, number))
    with pytest.raises(UserError, match="photos has 1 class folder: classification needs two or more") as refused:
        study.main(parse(study, ["--models=small", f"--datasets=folder:{tmp_path}/photos", "--source=imagenet",
                                 "--regimes=logistic_regression", f"--results_dir={tmp_path}/r", "--prepare", "--yes"]))
    assert "\n" not in str(refused.value) and not (tmp_path / "r").exists()


# ---- flags/first_result.flags ---------------------------------------------------------------------


def test_the_first_result_is_what_its_first_lines_say(tmp_path):
    text = (ROOT / "flags/first_result.flags").read_text()
    options = parse(study, [f"--flagfile={ROOT}/flags/first_result.flags", f"--data_dir={tmp_path}",
                            f"--logistic_regression=--weights_dir={tmp_path}"])
    runs = jobs.plan_runs(options, 400e9)
    images = sum(run.cost.evaluated for run in runs)
    lacks = lacking.of_study(options, runs)
    minutes = round(sum(run.cost.seconds for run in runs) / 60)
    assert (f"Planned: {lacking.size(lacks)} to fetch, {len(runs)} runs, {sum(run.cost.fits for run in runs)} fits, "
            f"{images:,} images. {minutes} minutes on a laptop of 400 * 10^9 operations") in text
    assert not any(lack.by_hand for lack in lacks) and len(lacks) == 9 and minutes < 60
    assert sum(lack.bytes for lack in lacks) < 3e9 and set(options.models) <= set(GROUPS["paper"])


@pytest.fixture
def both_hosts(tmp_path, monkeypatch):
    """A server that plays the hosts of checkpoints and of archives, both fabricated; yields the addresses asked for."""
    served, asked, rows = tmp_path / "served", [], {}
    archives.dtd(served, archives.class_names(DATASETS["dtd"]))
    archives.caltech101(served, archives.class_names(DATASETS["caltech101"]))
    archives.flowers(served, 102)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

    def here(file: pathlib.Path, server) -> dict:
        return {"url": f"http://127.0.0.1:{server.server_port}/{file.name}", "size": file.stat().st_size,
                "checksum": f"sha256:{atomic.file_sha256(file)}"}

    for name in ("mobilenet_v1", "inception_v1"):
        write(tmp_path / f"{name}.ckpt", training_checkpoint(name), "V1")
        with tarfile.open(served / f"{name}.tar.gz", "w:gz") as tar:
            tar.add(tmp_path / f"{name}.ckpt", f"{name}.ckpt")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=served)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        for name in ("dtd", "caltech101", "flowers"):
            source = DATASETS[name].source
            files = tuple(dataclasses.replace(file, **here(served / file.name, server)) for file in source.files)
            monkeypatch.setitem(DATASETS, name, dataclasses.replace(
                DATASETS[name], source=dataclasses.replace(source, files=files)))
        for name in ("mobilenet_v1", "inception_v1"):
            rows[name] = dataclasses.replace(NETWORKS[name].weights[0], **here(served / f"{name}.tar.gz", server))
        monkeypatch.setattr(prepare_models, "public_weights", lambda network, *_: rows[network.name])
        with archives.patched_checksums(served):
            yield asked
        server.shutdown()


@pytest.mark.slow
def test_the_first_result_goes_from_two_hosts_to_its_report(tmp_path, both_hosts, capsys, monkeypatch):
    """With two of its networks on images of 32 pixels, three strengths, and archives of a few images."""
    arguments = [f"--flagfile={ROOT}/flags/first_result.flags", "--models=mobilenet_v1,inception_v1", "--image_size=32",
                 f"--logistic_regression=--weights_dir={tmp_path}/w --l2=1,10,100", f"--data_dir={tmp_path}/data",
                 f"--results_dir={tmp_path}/r", "--prepare", "--yes"]
    assert study.main(parse(study, arguments)) is None
    printed = capsys.readouterr().out
    assert "  to fetch        3 data sets, " in printed and len(both_hosts) == 5 + 2
    assert len(store.read_records(tmp_path / "r")) == 6 and (tmp_path / "r/report/index.html").exists()
    assert study.main(parse(study, arguments)) is None
    printed = capsys.readouterr().out
    assert "to fetch" not in printed and printed.count("finished before") == 6 and len(both_hosts) == 7
