import torch
from sklearn.datasets import load_digits

from datamodule.digits import Digits


def test_every_image_once_and_test_images_the_same_whatever_the_seed(settings):
    facts = {"num_classes": 10, "image_size": [8, 8], "valid": 0.2}
    one, other = (Digits(**settings | facts | {"seed": seed, "split_seed": seed}) for seed in (0, 1))
    train, test = one.source("train"), one.source("test")
    assert torch.equal(test.images_NCHW, other.source("test").images_NCHW)
    assert (len(train), len(test)) == (1442, 355)
    assert one.summary()["split_hash"] != other.summary()["split_hash"]
    assert torch.bincount(test.targets).min() >= 34  # stratified: a fifth of 174 to 183 images
    assert torch.bincount(test.targets).max() <= 36
    whole = torch.from_numpy(load_digits().images)
    ours = torch.cat([train.images_NCHW, test.images_NCHW])[:, 0]
    assert ours.max() == 255
    assert torch.equal(ours.double().mul(16 / 255).round().sum(0), whole.sum(0))
