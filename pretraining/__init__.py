"""The inner rooms of `base_training`, which is the only door to them: what a base is fitted to,
kept on disk and read a window at a time, and how, on one device or many."""
