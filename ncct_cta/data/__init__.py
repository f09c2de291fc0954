"""Case lists, reading and writing volumes, lung mask, volume store, datasets and the phantom."""
