"""Training of the pretrained tokenizer: videos to a clip cache, to the KLT, to weights.

The road, one module each: `config` (every knob), `clip_cache` (videos to a memory-mapped array), `klt` (the transform
that training starts from), `optimizers`, `loop` (the run itself), `validation`.
"""
