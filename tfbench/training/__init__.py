"""Training: the step, its schedule, the replicas, one trial, a regime's search."""
