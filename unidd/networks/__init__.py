"""Networks: what to build, how to train it, how to evaluate images with it."""
