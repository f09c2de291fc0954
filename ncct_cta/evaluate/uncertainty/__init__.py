"""Maps of uncertainty beside predictions: whether they tell where the errors are, and intervals made of them."""
