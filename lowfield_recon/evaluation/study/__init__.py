"""The robustness study: methods x shifts x images x seeds, with paired statistics and verdicts."""
