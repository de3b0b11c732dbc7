"""Training steps of a CIFAR ResNet-8 in PyTorch: images per second of each step, for training.ts.

The same network as the builder's resNetCifar(8): 16, 32 and 64 channels, shortcuts that sample and pad, batch norm,
global average pool, one dense layer; cross-entropy, SGD with Nesterov momentum. Channels-last memory, as is fastest
on a CPU.

Usage: training.py THREADS BATCH SECONDS; prints one JSON line {"version", "rates": [images/s of each step]}.
"""

import json
import sys
import time

try:
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError:
    sys.exit("python3 has no torch")


class Block(nn.Module):
    def __init__(self, channels, width, stride):
        super().__init__()
        self.stride = stride
        self.pad = (width - channels) // 2
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return functional.relu(y + x)


class ResNet8(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
        self.dense = nn.Linear(64, 10)

    def forward(self, x):
        x = self.blocks(functional.relu(self.bn(self.stem(x))))
        return self.dense(x.mean((2, 3)))


def main():
    threads, batch, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model = ResNet8().to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 10
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)

    def step():
        optimiser.zero_grad(set_to_none=True)
        functional.cross_entropy(model(images), labels).backward()
        optimiser.step()

    for _ in range(3):
        step()
    rates = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        step()
        rates.append(batch / (time.perf_counter() - start))
    print(json.dumps({"version": torch.__version__, "rates": rates}))


main()
