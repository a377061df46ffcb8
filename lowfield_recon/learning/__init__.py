"""Networks, training data, differentiable solvers and the trainer."""
