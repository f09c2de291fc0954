"""``prepare virtual``: pairs from contrast CTs alone, by finding the blood and removing its iodine."""
