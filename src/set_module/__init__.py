"""Library of set-input modules: packed sets, the patch cut-out, encoders, pools. Imports torch only."""
