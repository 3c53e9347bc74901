"""What start.py asks: questions at the terminal, the choices that they offer, the command that the answers are."""
