"""Networks: modules that take images or sets and return numbers for each item, such as logits."""
