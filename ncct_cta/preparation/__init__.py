"""From a hospital's folders to checked, aligned pairs: finding, naming, aligning, judging, listing."""
