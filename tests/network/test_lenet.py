import torch
from torch import Tensor, nn
from torch.nn import functional as F

from network.lenet import LeNet


class Net(nn.Module):
    """The network of https://pytorch.org/tutorials/beginner/blitz/cifar10_tutorial.html."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


def test_equals_the_tutorials_network():
    ours, theirs = LeNet(3, [32, 32], 10, mean=[0.5], std=[0.5]), Net()
    weights = [parameter.detach() for parameter in ours.parameters()]
    theirs.load_state_dict(dict(zip(theirs.state_dict(), weights, strict=True)))
    images = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(ours(images), theirs((images / 255 - 0.5) / 0.5), rtol=1e-4, atol=1e-5)


def test_a_digit_stands_on_32_by_32():
    model = LeNet(1, [28, 28], 10, mean=[0.0], std=[1.0])
    digit = torch.randint(256, (2, 1, 28, 28), dtype=torch.uint8)
    torch.testing.assert_close(model(digit), model(F.pad(digit, (2, 2, 2, 2))))
