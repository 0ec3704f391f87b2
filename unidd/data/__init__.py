"""Images: data sets, augmentation, synthetic sets, and the formats of others."""
