"""Files as training data: windows of codes, and archives of them."""
