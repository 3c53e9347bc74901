"""The parts of start.py: questions at the terminal, the options that they offer, the command that answers make."""
