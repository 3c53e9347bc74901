"""Library of set-input modules: packed sets, the patch cut-out, encoders, pools. Needs only torch and counter_rng."""
