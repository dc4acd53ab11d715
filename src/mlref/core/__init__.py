"""What every other part builds on: errors, configuration, contract, settings, rows, files."""
