"""The library of set-input modules: packed sets, the patch cut-out, pools. Imports torch and counter_rng only."""
