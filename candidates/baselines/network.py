"""The layers of Mult-DAE and Mult-VAE, with lookups where the input is sparse."""

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from candidates.matrices.inner_products import pair_scores
from candidates.models.epochs import Batch


class Network(nn.Module):
    """Encoder items -> hidden -> latent, decoder latent -> hidden; `logits` is the last layer, hidden -> items.

    The first layer is a bag of embeddings (a user has a hundred items, not twenty thousand), the last one can be asked
    for some items alone. Item vectors of the first and the last layer may be given, and one table may serve both
    (`tied`; LED paper, section 9.2). Kept as they are (`project`), a hidden x hidden matrix P is learnt instead: item
    vectors are P v_i (section 4.4), with a P of its own for each table.
    """

    def __init__(
        self,
        items: int,
        hidden: int,
        latent: int,
        variational: bool,
        vectors: Tensor | None = None,
        project: bool = False,
        tied: bool = False,
    ) -> None:
        """`vectors`: float32 [items, hidden], what both layers begin with; None: at random."""
        super().__init__()
        self.items, self.variational = items, variational
        self.first = nn.Parameter(torch.empty(items, hidden))
        self.first_bias = nn.Parameter(torch.empty(hidden))
        self.encoder = nn.Linear(hidden, 2 * latent if variational else latent)
        self.decoder = nn.Linear(latent, hidden)
        self.last = self.first if tied else nn.Parameter(torch.empty(items, hidden))
        self.last_bias = nn.Parameter(torch.empty(items))
        for weight in self.weights():
            nn.init.xavier_normal_(weight)
        for bias in (self.first_bias, self.encoder.bias, self.decoder.bias, self.last_bias):
            nn.init.trunc_normal_(bias, std=0.001)
        if vectors is not None:
            for layer in (self.first, self.last):
                layer.data.copy_(vectors)
        self.projections = nn.ParameterList(torch.eye(hidden) for _ in range(2 - tied) if project)
        self.first.requires_grad_(not project)
        self.last.requires_grad_(not project)

    def weights(self) -> list[Tensor]:
        own = [] if self.last is self.first else [self.last]
        return [self.first, self.encoder.weight, self.decoder.weight, *own]

    def squared_weights(self) -> Tensor:
        return torch.stack([weight.square().sum() for weight in self.weights()]).sum()

    def forward(self, batch: Batch, dropout: float, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """The decoder's hidden layer, float [R, hidden], and the mean KL divergence from N(0, I) (0 for Mult-DAE).

        Args:
            dropout: share of items dropped, the others scaled up by 1 / (1 - dropout).
            generator: of the drop-out and the latent noise; None means inference: the latent vector is its mean.
        """
        share = batch.lengths.clamp(min=1).rsqrt()[batch.rows]  # each row has length 1
        if dropout:
            kept = torch.rand(share.shape, generator=generator, device=share.device) >= dropout
            share = share * kept / (1 - dropout)
        bag = embedding_bag(batch.items, self.first, batch.offsets, mode="sum", per_sample_weights=share)
        if len(self.projections):
            bag = bag @ self.projections[0].T
        latent = self.encoder(torch.tanh(bag + self.first_bias))
        divergence = latent.new_zeros(())
        if self.variational:
            mean, log_variance = latent.chunk(2, dim=1)
            divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
            latent = mean
            if generator is not None:
                noise = torch.randn(mean.shape, generator=generator, device=mean.device)
                latent = mean + noise * (0.5 * log_variance).exp()
        hidden = torch.tanh(self.decoder(latent))
        return hidden @ self.projections[-1] if len(self.projections) else hidden, divergence

    @torch.inference_mode()
    def output_vectors(self) -> Tensor:
        """Float32 [items, hidden]: those whose inner products with the decoder's layer are scores, but for the bias."""
        return self.last @ self.projections[-1].T if len(self.projections) else self.last.clone()

    def logits(self, hidden: Tensor, items: Tensor | None = None) -> Tensor:
        """float [R, items]: the scores of all items, or of the given positions int64 [n]."""
        if items is None:
            return hidden @ self.last.T + self.last_bias
        # index_select, not [items]: its gradient is a plain sum, where indexing's sorts and goes one by one
        return torch.addmm(self.last_bias.index_select(0, items), hidden, self.last.index_select(0, items).T)

    def logits_of(self, hidden: Tensor, batch: Batch) -> Tensor:
        """float [N]: of each of the batch's own items."""
        return pair_scores(hidden, self.last, batch.rows, batch.items) + self.last_bias.index_select(0, batch.items)
