"""Regime 1: features of the frozen network and logistic regression on them."""
