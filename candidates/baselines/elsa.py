"""ELSA: a linear autoencoder of low rank with a zero diagonal (Vančura et al., RecSys 2022)."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from candidates.models.checkpoints import TrainingState
from candidates.models.epochs import Batch, Epoch, chosen_device, ndcg_on, shuffled_batches, train_epochs
from candidates.models.model import UserItemModel
from candidates.protocols.splits import HeldOutUsers
from data.settings import Count, Positive, Seed, Settings

if TYPE_CHECKING:
    from torch import Tensor


class ElsaConfig(Settings):
    """dimension: of the item vectors. learning_rate: NAdam's. patience: epochs without a better validation."""

    dimension: Count = 512
    batch_size: Count = 256
    learning_rate: Positive = 0.02
    epochs: Count = 30
    patience: Count = 5
    seed: Seed = 0
    device: str = "auto"


class Elsa(UserItemModel):
    """Scores x (A A^T - I) with rows of A of length 1, so that no item explains itself.

    A user is the sum of their items' vectors and an item is scored by an inner product, as in LED: the same index
    serves it. `vectors`: A, float32 [items, dimension]. `history`: one Epoch per epoch.
    """

    title = "ELSA"
    config_type = ElsaConfig
    stops_early = True

    def _fit(self, user_items: csr_matrix, validation: HeldOutUsers | None, show_progress: bool) -> None:
        import torch
        from torch.nn.functional import normalize

        device = chosen_device(self.config.device)
        rng = np.random.default_rng(self.config.seed)
        table = torch.nn.EmbeddingBag(user_items.shape[1], self.config.dimension, mode="sum")
        torch.nn.init.xavier_uniform_(table.weight, generator=torch.Generator().manual_seed(self.config.seed))
        table.to(device)
        optimizer = torch.optim.NAdam(table.parameters(), lr=self.config.learning_rate)

        def epoch(number: int) -> float:
            losses = []
            for users in shuffled_batches(user_items, self.config.batch_size, rng):
                optimizer.zero_grad()
                loss = cosine_loss(normalize(table.weight, dim=1), Batch.of(users, device))
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
            return float(torch.stack(losses).mean())

        def scores(fold_in: csr_matrix) -> NDArray[np.float32]:
            self._keep(normalize(table.weight.detach(), dim=1))
            return self._scores(fold_in)

        self.history: list[Epoch] = train_epochs(
            self.title,
            TrainingState(table, [optimizer], rng),
            epoch,
            ndcg_on(scores, validation),
            self.config.epochs,
            self.config.patience,
            show_progress,
            self.checkpoint,
        )
        self._keep(normalize(table.weight.detach(), dim=1))

    def _keep(self, vectors: "Tensor") -> None:
        self.vectors: NDArray[np.float32] = vectors.cpu().numpy()

    def _scores(self, user_items: csr_matrix) -> NDArray[np.float32]:
        scores = (user_items @ self.vectors) @ self.vectors.T
        scores[user_items.nonzero()] -= 1
        return scores

    def _item_vectors(self) -> NDArray[np.float32]:
        return self.vectors

    def _state(self) -> dict[str, NDArray]:
        return {"vectors": self.vectors}

    def _restore(self, arrays: dict[str, NDArray]) -> None:
        self.vectors = arrays["vectors"]


def cosine_loss(vectors: "Tensor", batch: Batch) -> "Tensor":
    """Mean over users of |x / |x| - y / |y||^2 = 2 - 2 cos(x, y) for y = x (A A^T - I), without forming y.

    With z = x A and n = |x|^2, both <x, y> = |z|^2 - n and |y|^2 = z (A^T A) z - 2 |z|^2 + n need no vector as long as
    the catalogue; the cost is that of the users' items and of A^T A.

    Args:
        vectors: A, float [items, d], rows of length 1.
    """
    import torch
    from torch.nn.functional import embedding_bag

    sums = embedding_bag(batch.items, vectors, batch.offsets, mode="sum")
    squares = (sums * sums).sum(1)
    inner = squares - batch.lengths
    output = ((sums @ (vectors.T @ vectors)) * sums).sum(1) - 2 * squares + batch.lengths
    cosine = inner / torch.sqrt(batch.lengths * output.clamp(min=1e-6))
    return (2 - 2 * cosine).mean()
