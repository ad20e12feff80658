"""Small settings of stage one, for a made-up marketplace."""

from candidates.config import CandidatesConfig, CboConfig, EmbeddingConfig, IndexConfig, LedConfig

SMALL = CandidatesConfig(
    embedding=EmbeddingConfig(dimension=16, oversampling=10),
    cbo=CboConfig(clusters=(1, 6), prior_users=5.0),
    led=LedConfig(dimension=16, epochs=3, batch_size=64, negatives=64, learning_rate=1e-2),
    index=IndexConfig(exact_up_to=200, queries=60, timed=False),
    held_out=0.2,
)
