"""The discriminator of DICE."""
from collections.abc import Sequence

import torch
from torch import Tensor

from . import losses


class Discriminator(torch.nn.Module):
    """D(z1, z2, y): an MLP on [z1, z2, embedding of y] that predicts whether z1 and z2 come from the same sample or from two samples of class y.

    Parameters have the names of SDDE's Discriminator, so its state dicts can be loaded. Ref: sdde openood/networks/discriminator.py.
    """

    def __init__(self, num_classes: int, embedding_dim: int, units: Sequence[int] = (256, 256, 100), label_dim: int = 64, leaky_slope: float = 0.2):
        super().__init__()
        self.leaky_slope = leaky_slope
        self.label_embedder = torch.nn.Embedding(num_classes, label_dim)
        layers: list[torch.nn.Module] = []
        width = 2 * embedding_dim + label_dim
        for hidden in units:
            layers += [torch.nn.Linear(width, hidden), torch.nn.LeakyReLU(leaky_slope)]
            width = hidden
        self.net = torch.nn.Sequential(*layers, torch.nn.Linear(width, 1))

    def forward(self, embeddings1: Tensor, embeddings2: Tensor, labels: Tensor) -> Tensor:
        """[B, D], [B, D], [B] -> logits [B]."""
        return self.net(torch.cat([embeddings1, embeddings2, self.label_embedder(labels)], -1)).squeeze(-1)

    def operator_parameters(self) -> list[Tensor]:
        """Label embedding, then weight and bias of each layer, as losses.dice_pair_logits takes them."""
        layers = [layer for layer in self.net if isinstance(layer, torch.nn.Linear)]
        return [self.label_embedder.weight, *(tensor for layer in layers for tensor in (layer.weight, layer.bias))]

    def pair_logits(self, features: Tensor, labels: Tensor, partner_rows: Tensor | None = None) -> Tensor:
        """Logits [P, B] of all pairs of members, features [M, B, D]; the second member of a pair reads row partner_rows[b]."""
        return losses.dice_pair_logits(self.operator_parameters(), features, labels, self.leaky_slope, partner_rows)

    def pair_loss(self, embeddings1: Tensor, embeddings2: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The discriminator's loss and accuracy for one pair of members, with features [B, D] that keep their graph."""
        features = torch.stack([embeddings1, embeddings2])
        joint = self.pair_logits(features, labels)
        product = self.pair_logits(features, labels, losses.roll_within_class(labels))
        value, accuracy = losses.dice_discriminator_loss(joint, product)
        return value, accuracy.mean()

    def loss(self, embeddings: Sequence[Tensor] | Tensor, labels: Tensor) -> tuple[Tensor, dict[str, float]]:
        """The loss that trains the discriminator, and its metrics. The features of the M members are constants here; classes may have any number of samples."""
        features = (embeddings if isinstance(embeddings, Tensor) else torch.stack(list(embeddings))).detach()
        joint = self.pair_logits(features, labels)
        product = self.pair_logits(features, labels, losses.roll_within_class(labels))
        value, accuracy = losses.dice_discriminator_loss(joint, product)
        return value, {"discriminator_accuracy": float(accuracy.mean()), "discriminator_ce": float(value.detach())}
