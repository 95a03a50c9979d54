"""Convert codes to bytes and back, in arithmetic that is exact on every machine."""
