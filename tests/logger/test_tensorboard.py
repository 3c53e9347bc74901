"""TensorBoard's own reader reads back the event files."""

import json
import time
import urllib.request

import numpy
import pytest
from runs import record
from servers import tensorboard_server
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from logger.tensorboard import TensorBoard

SHORT = ("data=digits", "model=cnn", "hparams.max_epochs=1", "data.limit_train=256", "hparams.batch_size=32")


def events(folder):
    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    return found.Reload()


def hparams(found, tag):
    content = found.summary_metadata[f"_hparams_/{tag}"].plugin_data.content
    return HParamsPluginData.FromString(content)


@pytest.fixture
def logger(tmp_path):
    facts = {"comment": "a, b", "tags": ["first"], "command": "train.py", "git": {"commit": "abc"}, "host": "here"}
    facts["status"] = "running"
    (tmp_path / "run.json").write_text(json.dumps(facts))
    logger = TensorBoard(str(tmp_path))
    logger.open()
    return logger


NAMES = [f"{part}_{name}" for part in ("valid", "test") for name in ("loss", "accuracy", "f1")]
NAMES += ["train_loss", "train_accuracy"]
FINISHED = {"status": "finished", "metrics": dict.fromkeys(NAMES, 0.25)}


def test_loss_and_accuracy_are_the_first_charts(logger, tmp_path):
    ours = ["epoch", "examples", "grad_norm", "lr", "lr/head", "system/cpu_percent"]
    results = ["train_loss", "train_loss_step", "train_accuracy", "valid_loss", "valid_accuracy", "recon", "learned"]
    logger.log_metrics(dict.fromkeys([*ours, *results], 0.5), 1, 1000.0)
    logger.close({})
    assert sorted(events(tmp_path).Tags()["scalars"]) == [*sorted(results), *(f"watch/{name}" for name in ours)]


def end(logger, record):
    logger.end(record)
    logger.close(record)


def test_hyperparameters_beside_the_final_metrics(logger, tmp_path):
    logger.log_hyperparams({"lr": 0.1, "pool": ["mean", "max"], "patience": None})
    logger.log_hyperparams({"width": 3})  # of the module
    logger.log_metrics({"valid_loss": 0.5}, 10, 1000.5)
    end(logger, FINISHED)
    found = events(tmp_path)
    values = hparams(found, "session_start_info").session_start_info.hparams
    assert values["lr"].number_value == 0.1
    assert values["pool"].string_value == "['mean', 'max']"
    assert values["width"].number_value == 3
    names = {info.name.tag for info in hparams(found, "experiment").experiment.metric_infos}
    assert names == {f"final/{name}" for name in NAMES}
    assert found.Scalars("final/valid_loss")[-1].value == 0.25, "of the checkpoint that was tested"
    assert found.Scalars("valid_loss")[-1].value == 0.5, "of the last epoch"
    assert hparams(found, "session_end_info").HasField("session_end_info")


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_a_run_that_did_not_finish_has_no_end(logger, tmp_path, status):
    logger.log_hyperparams({"lr": 0.1})
    end(logger, {"status": status, "metrics": {}})
    assert hparams(events(tmp_path), "session_start_info").session_start_info.hparams["lr"].number_value == 0.1
    assert "_hparams_/session_end_info" not in events(tmp_path).summary_metadata


def test_curves_with_the_time_of_each_point(logger, tmp_path):
    logger.log_metrics({"valid_loss": 0.5}, 10, 1000.5)
    end(logger, FINISHED)
    (point,) = events(tmp_path).Scalars("valid_loss")
    assert (point.step, point.value, point.wall_time) == (10, 0.5, 1000.5)


def test_images(logger, tmp_path):
    from io import BytesIO

    from PIL import Image

    image = numpy.arange(2 * 3 * 3, dtype=numpy.uint8).reshape(2, 3, 3)
    logger.log_image("pictures/inputs", image, 7)
    end(logger, FINISHED)
    (shown,) = events(tmp_path).Images("pictures/inputs")
    assert shown.step == 7
    assert (numpy.asarray(Image.open(BytesIO(shown.encoded_image_string))) == image).all()


def test_histograms(logger, tmp_path):
    logger.log_histogram("weights", numpy.array([1.0, 3.0]), numpy.array([-1.0, 0.0, 2.0]), 7)
    end(logger, FINISHED)
    (shown,) = events(tmp_path).Histograms("weights")
    values = shown.histogram_value
    assert (values.min, values.max, values.num) == (-1, 2, 4)
    assert values.bucket_limit == [0, 2]
    assert values.bucket == [1, 3]


def test_files_that_are_text_and_facts_of_the_run(logger, tmp_path):
    (tmp_path / "config.yaml").write_text("lr: 0.1\n")
    (tmp_path / "best.ckpt").write_bytes(b"no text")
    logger.log_hyperparams({"lr": 0.1})
    logger.log_artifact(tmp_path / "config.yaml")
    logger.log_artifact(tmp_path / "best.ckpt")
    end(logger, FINISHED)
    found = events(tmp_path)
    texts = {
        name: found.Tensors(name)[0].tensor_proto.string_val[0].decode()
        for name in found.Tags()["tensors"]
        if not name.startswith("_hparams_")
    }
    assert texts["config.yaml/text_summary"] == "    lr: 0.1\n"
    assert "- **comment**: a, b" in texts["run/text_summary"]
    assert len(texts) == 2


def test_a_run_is_recorded_whole(train):
    folder = train(*SHORT, "loggers=tensorboard")
    found = events(folder)
    final = {f"final/{name}": value for name, value in record(folder)["metrics"].items()}
    assert {name: found.Scalars(name)[-1].value for name in final} == pytest.approx(final)
    columns = {info.name.tag for info in hparams(found, "experiment").experiment.metric_infos}
    parts = [f"{part}_{name}" for part in ("train", "valid", "test") for name in ("loss", "accuracy")]
    assert columns == set(final) == {f"final/{part}" for part in parts}
    assert {"config.yaml/text_summary", "run.json/text_summary"} <= set(found.Tags()["tensors"])


def test_points_from_before_the_logger_come_on_resume_and_no_point_twice(broken_off, resume):
    options = ("data=digits", "model=cnn", "hparams.max_epochs=3", "hparams.batch_size=64", "data.limit_train=640")
    for loggers in ("none", "tensorboard"):
        folder = broken_off(*options, f"loggers={loggers}", "+trainer.log_every_n_steps=2", batch=17)
        assert resume(folder, "loggers=tensorboard") == 0
        assert [point.step for point in events(folder).Scalars("train_loss_step")] == list(range(1, 30, 2))


def test_a_full_disk_is_reported_in_one_line_and_training_continues(train, small_disk, tmp_path, capfd):
    fault = f"+callbacks.fault={{_target_: faults.FillDisk, batch: 1, folder: {small_disk}}}"
    (small_disk / "run.json").write_text('{"status": "running"}')
    folder = train(*SHORT, "loggers=tensorboard", f"loggers.tensorboard.folder={small_disk}", fault)
    assert record(folder)["status"] == "finished"
    out, err = capfd.readouterr()
    (line,) = [line for line in (out + err).splitlines() if "still recorded by" in line]
    assert "No space left on device" in line
    assert "Traceback" not in out + err


@pytest.mark.processes
def test_make_tensorboard_shows_the_runs_of_both_folders_also_those_that_begin_later(tmp_path):
    def write(folder):
        folder.mkdir(parents=True)
        (folder / "run.json").write_text('{"status": "running"}')
        logger = TensorBoard(str(folder))
        logger.open()
        logger.log_metrics({"train_loss": 0.5}, 1, 1000.0)
        logger.close({})

    def runs_on(address, number):
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with urllib.request.urlopen(f"{address}/data/runs") as answer:
                names = json.load(answer)
            if len(names) == number:
                return sorted(names)
            time.sleep(0.2)
        raise TimeoutError(names)

    write(tmp_path / "outputs" / "one")
    with tensorboard_server(tmp_path) as (address, _):
        assert runs_on(address, 1) == ["outputs/one/tensorboard"]
        write(tmp_path / "multirun" / "two")
        assert runs_on(address, 2) == ["multirun/two/tensorboard", "outputs/one/tensorboard"]
