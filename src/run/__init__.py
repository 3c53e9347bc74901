"""The run folder and the command line: what every command shares and what report and evaluate read."""
