"""``prepare virtual``: training pairs from contrast CTs, by taking the iodine out."""
