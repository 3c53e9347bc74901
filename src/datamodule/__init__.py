"""Data sets as LightningDataModules: batches of (images_BCHW uint8 or a SetBatch, labels_B, index_B)."""
