"""Data sets: their catalog, the embedded ones, splits, preparing and the input pipeline."""
