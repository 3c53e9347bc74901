"""The page of `make explore`: a trained run, its test images, and the sets of patches that a user chooses from them."""
