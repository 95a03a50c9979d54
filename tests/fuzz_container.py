"""Coverage-guided fuzzing of everything that vtok does with a `.vtok` file, for as long as one likes: `make fuzz`.

Atheris (libFuzzer) keeps whatever reaches new lines of vtok. Its own mutations seldom get past a CRC, so half of the
mutants are those of tests/mutations.py, which makes CRCs right again. What is found is written to the folder in which
this runs as `crash-*` or `timeout-*`; `python tests/fuzz_container.py crash-...` reads such a file again.

python tests/fuzz_container.py -max_total_time=600 demo/fuzz_corpus
"""

import random
import struct
import sys
import tempfile
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

EDITED_SHARE = 0.5
OPTIONS = ["-max_len=16384", "-rss_limit_mb=2048", "-timeout=20", "-print_final_stats=1"]

with atheris.instrument_imports(include=["vtok"]):
    import torch
    from make_golden import WEIGHTS
    from mutations import SEEDS, mutant_of
    from reading_everything import Reader

    from vtok.model.tokenizer import VideoTokenizer


def mutate(data, max_size, seed):
    """What libFuzzer has, changed by it or edited chunk by chunk; if it has no chunks, a golden file edited."""
    rng = random.Random(seed)
    if rng.random() > EDITED_SHARE:
        return atheris.Mutate(data, max_size)
    try:
        return mutant_of(bytes(data), rng).data[:max_size]
    except (struct.error, ValueError, IndexError):
        return mutant_of(rng.choice(SEEDS), rng).data[:max_size]


def main():
    torch.set_num_threads(1)
    for corpus in (Path(argument) for argument in sys.argv[1:]):
        if corpus.is_dir():
            for number, seed in enumerate(SEEDS):
                (corpus / f"golden-{number}").write_bytes(seed)
            break
    with tempfile.TemporaryDirectory() as folder:
        reader = Reader(VideoTokenizer.from_pretrained(WEIGHTS), folder)

        def read(data):
            # What else is done follows from the data, so that a file that was found does the same again.
            choice = sum(data) % 64
            reader.read(
                data,
                trusts_codes=choice % 4 == 0,
                accesses=choice % 3 == 0,
                edits=choice % 8 == 1,
                decodes_to_video=choice == 2,
            )

        atheris.Setup([*sys.argv, *OPTIONS], read, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
