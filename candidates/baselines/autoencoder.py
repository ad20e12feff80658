"""Mult-DAE, Mult-VAE and their losses (Liang et al. 2018, "Variational Autoencoders for Collaborative Filtering")."""

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack

from candidates.led.examples import own_draws
from candidates.led.losses import Scores, complementarity_sum_sampling
from candidates.models.checkpoints import TrainingState
from candidates.models.epochs import Batch, Epoch, chosen_device, ndcg_on, shuffled_batches, train_epochs
from candidates.models.model import UserItemModel
from candidates.protocols.splits import HeldOutUsers
from data.settings import AtLeastZero, Count, Positive, Seed, Settings, Share

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from candidates.baselines.network import Network


class AutoencoderConfig(Settings):
    """items -> hidden -> latent -> hidden -> items, tanh between layers (section 4.3).

    Attributes:
        variational: Mult-VAE; else Mult-DAE.
        loss: "multinomial" over all items, or "css": the same with its partition function estimated from `negatives`
            drawn items (LED paper, section 4.3), so that the output layer is computed for the batch's own items and the
            drawn ones alone.
        negatives_per: as LED's.
        dropout: share of a user's items the model is not told in training.
        kl_cap, kl_epochs: the KL term's weight grows linearly to kl_cap over so many epochs.
        weight_decay: L2 penalty, times the sum of squared weights per batch (Mult-DAE's published 0.01 / 500).
    """

    variational: bool = True
    loss: Literal["multinomial", "css"] = "multinomial"
    hidden: Count = 600
    latent: Count = 200
    dropout: Share = 0.5
    kl_cap: AtLeastZero = 0.2
    kl_epochs: Count = 50
    weight_decay: AtLeastZero = 0.0
    negatives: Count = 1000
    negatives_per: Literal["batch", "user"] = "batch"
    batch_size: Count = 100
    learning_rate: Positive = 1e-3
    epochs: Count = 100
    patience: Count = 15
    seed: Seed = 0
    device: str = "auto"


class Autoencoder(UserItemModel):
    """Scores are the logits of the decoder, from the encoder's mean. `history`: one Epoch per epoch."""

    title = "Autoencoder"
    config_type = AutoencoderConfig
    config: AutoencoderConfig
    stops_early = True

    def __init__(self, config: AutoencoderConfig | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self.title = "Mult-VAE" if self.config.variational else "Mult-DAE"
        if self.config.loss == "css":
            self.title += " CSS"

    def _fit(self, user_items: csr_matrix, validation: HeldOutUsers | None, show_progress: bool) -> None:
        self._train(user_items, None, validation, show_progress)

    def _train(
        self, inputs: csr_matrix, targets: csr_matrix | None, validation: HeldOutUsers | None, show_progress: bool
    ) -> None:
        """Targets None: the inputs themselves."""
        import torch

        config = self.config
        self._device = chosen_device(config.device)
        generator = torch.Generator(self._device).manual_seed(config.seed)
        rng = np.random.default_rng(config.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)  # the layers' first weights
            self.network = self._network(inputs.shape[1], self._start_vectors(inputs)).to(self._device)
        learnt = [one for one in self.network.parameters() if one.requires_grad]
        optimizer = torch.optim.Adam(learnt, lr=config.learning_rate, fused=True)
        batches = math.ceil(np.count_nonzero(np.diff(inputs.indptr)) / config.batch_size)
        items, both = inputs.shape[1], inputs if targets is None else hstack([inputs, targets], format="csr")

        def epoch(number: int) -> float:
            losses = []
            for place, users in enumerate(shuffled_batches(both, config.batch_size, rng)):
                optimizer.zero_grad()
                kl_weight = config.kl_cap * min(1.0, (number + place / batches) / config.kl_epochs)
                if targets is None:
                    told = asked = Batch.of(users, self._device)
                else:
                    told, asked = (Batch.of(part, self._device) for part in (users[:, :items], users[:, items:]))
                loss = self._loss(told, asked, kl_weight, generator)
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
            return float(torch.stack(losses).mean())

        self.history: list[Epoch] = train_epochs(
            self.title,
            TrainingState(self.network, [optimizer], rng, generator),
            epoch,
            ndcg_on(self._scores, validation),
            config.epochs,
            config.patience,
            show_progress,
            self.checkpoint,
        )

    def _start_vectors(self, inputs: csr_matrix) -> "Tensor | None":
        """Float32 [items, hidden], what the first and the last layer begin with; None: at random."""
        return None

    def _network(self, items: int, vectors: "Tensor | None") -> "Network":
        from candidates.baselines.network import Network

        return Network(items, self.config.hidden, self.config.latent, self.config.variational, vectors)

    def _loss(self, told: Batch, asked: Batch, kl_weight: float, generator: "torch.Generator") -> "Tensor":
        """The negative evidence lower bound, KL weighed (equation 7), mean over the batch's users."""
        hidden, kl = self.network(told, self.config.dropout, generator)
        if self.config.loss == "css":
            reconstruction = self._sampled(hidden, asked, generator)
        else:
            reconstruction = multinomial_loss(self.network.logits(hidden), asked)
        penalty = self.config.weight_decay * self.network.squared_weights() if self.config.weight_decay else 0.0
        return reconstruction + kl_weight * kl + penalty

    def _sampled(self, hidden: "Tensor", batch: Batch, generator: "torch.Generator") -> "Tensor":
        """Mult-CSS, the sum over a user's items, mean over users. Drawn items are scored by one matrix product."""
        import torch

        items, users, count = self.network.items, len(hidden), self.config.negatives
        shape = (users, count) if self.config.negatives_per == "user" else (count,)
        found = torch.randint(items, shape, generator=generator, device=hidden.device).sort().values
        negatives, drawn = found, None
        if found.ndim == 2:
            negatives, drawn = torch.unique(found, return_inverse=True)
        parts = (negatives, drawn, batch.rows, batch.items)
        own = own_draws(*(None if one is None else one.cpu().numpy() for one in parts))  # type: ignore[arg-type]
        scores = self.network.logits(hidden, negatives)
        told = Scores(
            self.network.logits_of(hidden, batch),
            scores if drawn is None else scores.gather(1, drawn),
            batch.rows,
            torch.full((users,), items, device=hidden.device),
            own=None if own is None else torch.from_numpy(own).to(hidden.device),
        )
        return complementarity_sum_sampling(told) * (len(batch.items) / users)

    def _scores(self, user_items: csr_matrix) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            hidden, _ = self.network(Batch.of(user_items, self._device), 0.0, None)
            return self.network.logits(hidden).cpu().numpy()

    def _item_vectors(self) -> NDArray[np.float32]:
        return self.network.output_vectors().cpu().numpy()

    def _state(self) -> dict[str, NDArray]:
        return {name: one.cpu().numpy() for name, one in self.network.state_dict().items()}

    def _restore(self, arrays: dict[str, NDArray]) -> None:
        import torch

        self._device = chosen_device(self.config.device)
        self.network = self._network(self._fitted(), None).to(self._device)
        self.network.load_state_dict({name: torch.from_numpy(one) for name, one in arrays.items()})


def multinomial_loss(logits: "Tensor", batch: Batch) -> "Tensor":
    """- sum over a user's items of log softmax(logits)_i, mean over users (equation 2). logits: float [R, items]."""
    chosen = logits.flatten().index_select(0, batch.rows * logits.shape[1] + batch.items)
    return ((logits.logsumexp(1) * batch.lengths).sum() - chosen.sum()) / len(batch.lengths)
