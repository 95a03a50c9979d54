"""`VideoTokenizer`, its weights, and the available models."""
