"""Metrics, statistics, figures and the report. Nothing in here imports TensorFlow."""
