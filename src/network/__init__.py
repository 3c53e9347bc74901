"""Networks: modules that take images and return logits."""
