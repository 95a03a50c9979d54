"""`VideoTokenizer`, its weights, and the models at hand."""
