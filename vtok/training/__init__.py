"""Training of the pretrained tokenizer: from videos to a clip cache, to the KLT, to weights.

One module per step: `config` (every setting), `clip_cache` (videos to a memory-mapped array), `klt` (the transform
that training starts from), `objective` (the loss), `optimizers`, `loop` (the run itself), `validation`.
"""
