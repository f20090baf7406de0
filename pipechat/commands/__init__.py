"""The commands: flags become values, values become work. Only they and `main` know typer."""
