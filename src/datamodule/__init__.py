"""Data sets as LightningDataModules: batches of (images_BCHW uint8 or a SetBatch, targets, index_B)."""
