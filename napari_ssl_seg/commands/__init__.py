"""What the verbs of the command line do: each function returns a plain mapping to print."""
