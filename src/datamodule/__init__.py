"""Data sets as LightningDataModules: batches of (images_BCHW uint8, labels_B, index_B)."""
