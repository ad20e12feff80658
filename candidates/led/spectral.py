"""LED in closed form: the table of spectral item vectors, with biases of log popularity."""

import numpy as np
from numpy.typing import NDArray

from candidates.config import SpectralValues
from candidates.led.vectors import LedVectors
from candidates.matrices.spectral import Spectrum, output_scale, singular_vectors

_TIES = 1e-9
"""The least bias, below rounding: it orders what the vectors score alike, everything for a user without history."""


def spectral_vectors(spectrum: Spectrum, values: SpectralValues, length_power: float) -> LedVectors:
    """The table of a choice: output_j = n_j^c g_j^-e V_j diag(f)^1/2, diag(f) standing half on either side, and
    input_i = scale_i output_i with scale_i = n_i^-b / (n_i^c g_i^-e); d is at most the spectrum's dimension."""
    vectors = singular_vectors(spectrum, values.ridge, values.dimension)
    scale = output_scale(spectrum, values, vectors)
    return LedVectors(
        vectors=(scale[:, None] * vectors).astype(np.float32),
        scales=(input_weights(spectrum) / scale).astype(np.float32),
        biases=spectral_biases(spectrum, values, vectors, scale),
        length_power=length_power,
    )


def input_weights(spectrum: Spectrum) -> NDArray[np.float64]:
    """n_i^-b, float64 [I], by which V_i diag(f)^1/2 becomes an input vector."""
    weights: NDArray[np.float64] = np.maximum(spectrum.users_of_item, 1) ** -spectrum.item_power
    return weights


def spectral_biases(
    spectrum: Spectrum, values: SpectralValues, vectors: NDArray[np.floating], scale: NDArray[np.floating]
) -> NDArray[np.float32]:
    """float32 [I]: log(1 + users of the item), times the values' bias, times the mean of what an item scores for a user
    of that item alone.

    Args:
        vectors: `singular_vectors` [I, d]. scale: `output_scale` [I].
    """
    unit = float((input_weights(spectrum) * scale * (vectors**2).sum(axis=1)).mean())
    biases: NDArray[np.float32] = (max(values.bias, _TIES) * unit * np.log1p(spectrum.users_of_item)).astype(np.float32)
    return biases
