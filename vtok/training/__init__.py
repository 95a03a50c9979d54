"""Training of the pretrained tokenizer: from videos to a clip cache, to the KLT, to weights.

One module per step: `config` (every setting), `clip_cache` (videos to a memory-mapped array, by `clip_cutting` and
`clip_motion`), `optimizers`, `loop` (the run itself), `validation`. The transform and the loss are in `vtok.networks`:
`klt` and `objective`.
"""
