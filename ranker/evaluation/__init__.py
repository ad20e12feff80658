"""How good predictions are: metrics, calibration, plots of it."""
