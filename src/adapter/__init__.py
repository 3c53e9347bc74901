"""Private and replaced names of libraries: one file per library, and a test that fails by the name that moved."""
