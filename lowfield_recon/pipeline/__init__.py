"""What the commands and the steps of a pipeline do: one implementation for both."""
