import time

from pytorch_lightning import Callback
from small_fit import Save, fit

from callback.throughput import Throughput


class Slow(Callback):
    def on_train_batch_start(self, *_):
        time.sleep(0.05)

    def on_validation_batch_start(self, *_):
        time.sleep(0.5)


def test_examples_are_the_images_seen_so_far(tmp_path):
    _, rows = fit([Throughput()], [5, 4, 3], tmp_path, max_epochs=2, log_every_n_steps=2)
    assert [row["examples"] for row in rows] == [9, 17, 24]


def test_speed_without_the_time_of_validation(tmp_path):
    settings = {"max_epochs": 2, "log_every_n_steps": 4, "valid": [2]}
    _, (row,) = fit([Throughput(), Slow()], [10, 10], tmp_path, **settings)
    assert 100 < row["system/images_per_second"] < 200  # 40 images in 0.2 s and a little more, not in 0.7 s


def test_a_resumed_training_counts_on_between_rows(tmp_path):
    settings, checkpoint = {"log_every_n_steps": 2, "max_epochs": 2}, tmp_path / "first epoch.ckpt"
    _, whole = fit([Throughput(), Save(checkpoint)], [5, 4, 3], tmp_path, **settings)
    _, rest = fit([Throughput()], [5, 4, 3], tmp_path, resume=checkpoint, **settings)
    assert ([row["examples"] for row in whole], [row["examples"] for row in rest]) == ([9, 17, 24], [17, 24])


def test_begins_at_0_where_it_was_left_out_before(tmp_path):
    settings, checkpoint = {"max_epochs": 2}, tmp_path / "first epoch.ckpt"
    fit([Save(checkpoint)], [5], tmp_path, **settings)
    _, (row,) = fit([Throughput()], [5], tmp_path, resume=checkpoint, **settings)
    assert row["examples"] == 5
