"""SDDE's loss in a training on images of handwritten digits: the import is all that says which package it comes from."""
import unittest

import sklearn.datasets
import torch

from dissent import DiceDiversityLoss, Discriminator, GradCAMDiversityLoss

STEPS, MEMBERS, BATCH = 20, 3, 64


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.maps = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 16, 3, padding=1), torch.nn.ReLU())
        self.head = torch.nn.Linear(16 * 16, 10)

    def forward(self, images):
        maps = self.maps(images)
        features = torch.nn.functional.adaptive_avg_pool2d(maps, 4).flatten(1)
        return self.head(features), features, maps


def digits():
    data = sklearn.datasets.load_digits()
    return torch.tensor(data.images / 16, dtype=torch.float32).unsqueeze(1), torch.tensor(data.target)


def train(weight):
    """Cross-entropy plus weight times the saliency loss; both, of every step."""
    torch.manual_seed(0)
    images, labels = digits()
    networks = torch.nn.ModuleList(Network() for _ in range(MEMBERS))
    optimizer = torch.optim.Adam(networks.parameters(), lr=1e-2)
    diversity, values = GradCAMDiversityLoss(), []
    for rows in torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[: STEPS * BATCH].split(BATCH):
        logits, features, maps = zip(*(network(images[rows]) for network in networks))
        base = sum(torch.nn.functional.cross_entropy(z, labels[rows]) for z in logits) / MEMBERS
        likeness = diversity(labels=labels[rows], logits=torch.stack(logits), feature_maps=list(maps), features=None, images=None)
        optimizer.zero_grad()
        (base + weight * likeness).backward()
        optimizer.step()
        values.append((base.item(), likeness.item()))
    return values


class Training(unittest.TestCase):
    def test_saliency_loss(self):
        with_loss, without = train(0.1), train(0.0)  # SDDE's weight for such images
        mean = lambda values, column: sum(value[column] for value in values[-5:]) / 5
        self.assertEqual((len(with_loss), with_loss[0]), (STEPS, without[0]))  # the same networks and images at first
        self.assertLess(mean(with_loss, 0), 0.75 * with_loss[0][0])  # the task is learnt
        self.assertLess(mean(with_loss, 1), mean(without, 1) - 0.15)  # and the members look elsewhere; -0.5 is the least that 3 members can have

    def test_dice(self):
        """Members whose features are their label and a part that is common to all: DICE takes the common part away."""
        torch.manual_seed(0)
        _, labels = digits()
        scale = torch.nn.Parameter(torch.ones(()))
        discriminator = Discriminator(10, 10, units=(16, 16), label_dim=4)
        loss = DiceDiversityLoss(discriminator)
        optimizers = [torch.optim.Adam([scale], lr=0.02), torch.optim.Adam(discriminator.parameters(), lr=0.02)]
        for step in range(60):
            y = labels[step * 24:][:48]
            common = torch.randn(len(y), 1) * scale.abs()
            features = [torch.nn.functional.one_hot(y, 10) + 0.1 * torch.randn(len(y), 10) + common for _ in range(MEMBERS)]
            value = loss(images=None, labels=y, logits=None, features=features, feature_maps=None)
            optimizers[0].zero_grad()
            value.backward()
            optimizers[0].step()
            own, metrics = discriminator.loss(features, y)
            optimizers[1].zero_grad()
            own.backward()
            optimizers[1].step()
        self.assertLess(abs(scale.item()), 0.5)
        self.assertGreater(metrics["discriminator_accuracy"], 0.3)


if __name__ == "__main__":
    unittest.main()
