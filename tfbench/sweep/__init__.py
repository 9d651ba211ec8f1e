"""What study runs: the plan, its jobs, their status and the executors."""
