"""Networks: their catalog, how they are built, and the weights files they start from."""
