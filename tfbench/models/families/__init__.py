"""Networks, family by family, layer by layer."""
