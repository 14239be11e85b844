"""Published blind methods that `bench/quality.py --rivals` puts beside ours, written from their papers."""
