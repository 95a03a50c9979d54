"""What several test modules share: videos, files, models, damage, and a second reader of the format."""
